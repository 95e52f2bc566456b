"""Methods that read features of pictures, one file each."""
