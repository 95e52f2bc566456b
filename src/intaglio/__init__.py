"""Intaglio: a workbench for image generative models on one's own hardware."""

__version__ = "0.1.0"
