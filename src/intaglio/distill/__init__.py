"""Distillation: students of a diffusion model that draw in fewer calls of the network."""
