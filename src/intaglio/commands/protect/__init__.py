"""Commands of the verb protect."""
