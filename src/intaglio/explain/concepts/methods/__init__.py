"""Methods that find concepts, one file each."""
