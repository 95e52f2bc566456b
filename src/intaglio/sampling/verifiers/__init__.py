"""Verifiers of drawn pictures, one a file."""
