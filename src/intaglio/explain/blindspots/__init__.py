"""Concepts that a model draws too rarely or too often: methods, their contract, result and cost."""
