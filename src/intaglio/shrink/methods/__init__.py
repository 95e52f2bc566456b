"""Ways to make a model smaller; a file is a method."""
