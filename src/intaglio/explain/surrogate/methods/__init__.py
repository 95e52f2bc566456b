"""Ways to choose the features that a surrogate is fitted to, a file each."""
