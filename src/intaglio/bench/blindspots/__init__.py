"""The bench of blind spots."""
