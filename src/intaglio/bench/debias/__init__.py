"""The bench of corrections of predicted outcomes."""
