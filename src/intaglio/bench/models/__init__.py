"""Bench of model families: speed, memory, and the distance to diffusers."""
