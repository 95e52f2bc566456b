"""Bench of counterfactual pictures."""
