"""Ways to make a model smaller, side by side."""
