"""Merging: one model of several that come from one base."""
