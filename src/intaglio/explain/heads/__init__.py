"""Heads that a person can read: classifiers on a network's frozen features, beside a linear one."""
