"""Denoising errors and their gradients, of one model or of a suspect and its base."""
