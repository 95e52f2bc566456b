"""The bench of smaller and merged models."""
