"""Verb protect: pictures changed a little, so that a model learns or edits them badly."""
