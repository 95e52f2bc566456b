"""Ways to choose the pixels that a classifier sees, one file each."""
