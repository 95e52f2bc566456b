"""Measurement operators, one a file."""
