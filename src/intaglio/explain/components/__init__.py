"""Components of a denoiser: how much of the difference between two prompts goes through each."""
