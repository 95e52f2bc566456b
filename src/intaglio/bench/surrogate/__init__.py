"""The bench of surrogates of a black box."""
