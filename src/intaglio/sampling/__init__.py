"""Sampling: samplers, guides, and the loop around them."""
