"""Surrogates of a black box: a few features and rules that say what it says."""
