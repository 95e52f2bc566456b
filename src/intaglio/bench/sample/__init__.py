"""The bench of sampling methods."""
