"""Choosing of training pictures: those of a pool that a model should be trained on to become good at given ones."""
