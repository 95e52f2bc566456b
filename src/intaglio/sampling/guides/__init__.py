"""Guides, one a file."""
