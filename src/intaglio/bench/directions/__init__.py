"""Directions of a denoiser beside each other."""
