"""Methods that even out what a model draws, one a file."""
