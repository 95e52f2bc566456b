"""Composition of prompts: their coloured entities and relation, and losses on how attention places them."""
