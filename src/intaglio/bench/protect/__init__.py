"""Bench of protections."""
