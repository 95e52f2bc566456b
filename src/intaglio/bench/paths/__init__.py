"""Bench of edges between filters."""
