"""Sharpened encoders: copies found before and after, by each method."""
