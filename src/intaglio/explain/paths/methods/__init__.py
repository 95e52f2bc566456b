"""Ways to tell what an edge between two filters does, a file each."""
