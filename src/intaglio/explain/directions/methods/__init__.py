"""Ways to find directions, one a file."""
