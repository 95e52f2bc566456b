"""Methods of purification, one file each."""
