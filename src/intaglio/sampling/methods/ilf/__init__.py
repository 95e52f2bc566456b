"""Inner loop feedback."""
