"""What tests of methods may cost, in processor seconds, so that two hundred methods do not take an hour.

Processor time and not that of the clock, and in the machine's own measure: a busy or a slow machine fails nobody.
"""

import time
from functools import cache

import torch

SHARED_CPU_S = 3.0
"""All shared tests of one row of the matrix."""
OWN_CPU_S = 2.0
"""Each of a method's own tests."""
YARDSTICK_CPU_S = 0.06
"""What `yardstick` takes on the machine that the budgets were set on, a server of two cores."""


@cache
def yardstick() -> float:
    """Processor seconds of a fixed piece of work: the fastest of three."""
    picture, weight = torch.ones(8, 16, 32, 32), torch.ones(16, 16, 3, 3)
    taken = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(20):
            torch.nn.functional.conv2d(picture, weight)
        taken.append(time.process_time() - began)
    return min(taken)


def affordable(seconds: float) -> float:
    """The budget on this machine, right now."""
    return seconds * max(1.0, yardstick() / YARDSTICK_CPU_S)
