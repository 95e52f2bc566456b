"""Weights in fewer bits: codes, their scales, and the file that holds them."""
