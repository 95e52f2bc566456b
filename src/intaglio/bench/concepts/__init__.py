"""The bench of concepts."""
