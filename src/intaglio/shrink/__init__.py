"""Models made smaller, and merged."""
