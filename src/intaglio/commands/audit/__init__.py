"""Commands of the verb audit."""
