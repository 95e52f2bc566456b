"""Makers of counterfactual pictures, one a file."""
