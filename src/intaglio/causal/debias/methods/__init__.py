"""Corrections of predicted outcomes, one file each."""
