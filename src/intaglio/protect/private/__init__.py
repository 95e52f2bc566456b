"""Classifiers trained on a few pictures with differential privacy of each."""
