"""Fingerprints: marks that tell later whose picture it is, by a key that only its owner has."""
