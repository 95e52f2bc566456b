"""Paths of a convolutional network: edges between its filters by which a class's score comes about."""
