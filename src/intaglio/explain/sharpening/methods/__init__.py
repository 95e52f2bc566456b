"""Ways to sharpen an encoder of pictures, one a file."""
