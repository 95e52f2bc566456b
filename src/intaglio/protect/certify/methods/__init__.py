"""Methods of certification, one file each."""
