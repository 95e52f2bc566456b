"""The bench of predictions in an environment that was not learnt from."""
