"""Methods that look for concepts drawn too rarely or too often, one file each."""
