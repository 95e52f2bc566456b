"""Scenes of one or two coloured shapes: their captions, their pictures, and the exact way back from a picture."""
