"""Certificates of classifiers: how far a picture may be changed before the class that is told can change."""
