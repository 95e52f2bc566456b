"""Convolution kernels of a network: what sets them apart from random ones, and from another network's."""
