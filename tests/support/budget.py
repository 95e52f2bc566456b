"""Budgets of the tests of methods in processor seconds, so that two hundred methods do not take an hour.

Processor time and not that of the clock, and in the machine's own measure: neither a busy nor a slow machine is to
fail a test.
"""

import time

import torch

SHARED_CPU_S = 3.0
"""All shared tests of one row of the matrix."""
OWN_CPU_S = 2.0
"""Each of a method's own tests."""
YARDSTICK_CPU_S = 0.03
"""What `yardstick` takes on the machine that the budgets were set on, a server of two cores with nothing else to do."""
TOLERANCE = 1.5
"""A test fails above so many times its budget: processes that share a cache cost each other processor time."""


def yardstick() -> float:
    """Processor seconds of a fixed piece of work like that of tests, many small operations: the slowest of three."""
    picture, weight = torch.ones(4, 8, 8, 8), torch.ones(8, 8, 3, 3, requires_grad=True)
    taken = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(100):
            out = torch.nn.functional.conv2d(picture, weight, padding=1)
            for _ in range(8):
                out = torch.tanh(out * 0.5 + 0.1)
            out.sum().backward()
            weight.grad = None
        taken.append(time.process_time() - began)
    return max(taken)


def affordable(seconds: float) -> float:
    """The most that a budget of `seconds` allows on this machine, right now."""
    return seconds * TOLERANCE * max(1.0, yardstick() / YARDSTICK_CPU_S)
