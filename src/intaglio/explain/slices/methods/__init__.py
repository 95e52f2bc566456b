"""Methods that find slices, one file each."""
