"""Effects from predicted outcomes, whose shrinkage towards the mean is undone."""
