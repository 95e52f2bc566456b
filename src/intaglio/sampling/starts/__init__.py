"""Starts of a sampling that are fitted to pictures, one a file."""
