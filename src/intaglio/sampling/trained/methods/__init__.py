"""Trainers of `intaglio sample train`: one a file, found by its name."""
