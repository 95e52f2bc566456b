"""Autoregressive normalising flows: training, likelihood, and methods of sampling."""
