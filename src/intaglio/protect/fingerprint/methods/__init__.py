"""Methods of fingerprinting, one file each."""
