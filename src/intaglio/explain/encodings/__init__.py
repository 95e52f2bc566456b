"""Encodings of pictures whose numbers make up what noise destroys, each part of them for a range of noise levels."""
