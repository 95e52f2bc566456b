"""Ways to tell which places a word of a prompt is about, a file each."""
