"""Ways to take a shortcut out of a classifier, a file each."""
