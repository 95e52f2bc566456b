"""Classifiers that explain themselves by choosing the pixels that they see."""
