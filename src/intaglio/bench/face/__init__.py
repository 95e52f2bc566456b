"""The bench of what a person meets: first sentences, plans, the viewer."""
