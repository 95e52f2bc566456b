"""Edits that even out what a model draws, beside each other."""
