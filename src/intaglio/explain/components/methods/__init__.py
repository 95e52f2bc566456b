"""Ways to tell how much goes through a component, a file each."""
