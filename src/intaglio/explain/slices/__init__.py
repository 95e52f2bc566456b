"""Slices: groups of pictures that look alike and on which a classifier errs more than on others."""
