"""Outcomes in an environment that was not seen: predicted from other ones, and again once its rows are known."""
