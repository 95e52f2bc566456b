"""Directions of a denoiser's activations along which pictures change, found and shown."""
