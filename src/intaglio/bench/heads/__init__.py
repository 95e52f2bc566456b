"""The bench of readable heads."""
