"""Credit for a likeness: how much each component of a drawing adds to its likeness with given pictures."""
