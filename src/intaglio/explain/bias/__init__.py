"""Uneven shares of what a prompt leaves open: where a denoiser carries them, and edits that even them out."""
