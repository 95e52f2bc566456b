"""Searches of the initial noise."""
