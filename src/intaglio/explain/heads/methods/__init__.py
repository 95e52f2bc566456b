"""Heads on frozen features, one file each."""
