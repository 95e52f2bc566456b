"""Purification: pictures cleaned of a protection or a mark, as an imitator would before learning from them."""
