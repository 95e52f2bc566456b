"""Methods of private training, one file each."""
