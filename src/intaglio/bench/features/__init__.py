"""The bench of features that labels are read from."""
