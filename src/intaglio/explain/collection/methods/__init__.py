"""Methods that arrange a collection of pictures, one file each."""
