"""Autoregressive normalising flows: trained, their likelihoods, and the ways to sample them."""
