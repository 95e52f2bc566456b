"""The bench of slices of wrong answers."""
