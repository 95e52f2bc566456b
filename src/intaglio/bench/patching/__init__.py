"""The bench of patched components."""
