"""The bench of explanations."""
