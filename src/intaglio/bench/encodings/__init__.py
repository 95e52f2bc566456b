"""Encodings of emoji beside an untrained encoder and the denoiser that they are taught by."""
