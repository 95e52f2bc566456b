"""Learners of effects that differ between units, one file each."""
