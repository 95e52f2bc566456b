"""Sampling methods, one a file."""
