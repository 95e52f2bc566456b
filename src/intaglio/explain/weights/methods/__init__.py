"""Methods that read kernels, one file each."""
