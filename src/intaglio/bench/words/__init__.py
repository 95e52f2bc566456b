"""The bench of maps of words."""
