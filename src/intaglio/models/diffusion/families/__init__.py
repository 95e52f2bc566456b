"""Families of text-to-image models, one a file: all that differs between them but their weights."""
