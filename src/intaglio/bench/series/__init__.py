"""Points of series that a classifier goes by, of planted spikes and of denoising trajectories."""
