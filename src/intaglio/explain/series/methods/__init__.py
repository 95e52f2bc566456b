"""Ways to tell which points of a series a classifier goes by, one a file."""
