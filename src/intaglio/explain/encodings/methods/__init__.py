"""Ways to share the numbers of an encoding among noise levels, one a file."""
