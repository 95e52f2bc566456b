"""Points of a series, such as a denoising trajectory, by which a classifier tells its class."""
