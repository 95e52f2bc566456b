"""Repairs of a classifier that goes by a shortcut: its edges cut, or its last layer fitted again."""
