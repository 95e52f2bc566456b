"""Counterfactual pictures: what a picture would look like if one of its attributes were another."""
