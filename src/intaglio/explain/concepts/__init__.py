"""Concepts of a classifier: directions of its features that parts of pictures share, and how much a class owes them."""
