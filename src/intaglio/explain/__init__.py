"""Explanations: what a network looks at, and what it knows."""
