"""The bench of learners of effects that differ between units."""
