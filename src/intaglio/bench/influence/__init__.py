"""Bench of influence: predictions of removed pictures beside models that were trained again without them."""
