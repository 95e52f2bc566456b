"""Encoders of pictures, sharpened by a weak generator that must draw the pictures from their descriptors."""
