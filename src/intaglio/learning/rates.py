"""Learning rates as functions of the step."""

import math


def warmed_cosine(step: int, steps: int, *, warmup: int, peak: float, final: float) -> float:
    """The rate of update `step`, counted from 0: a line up over `warmup` updates, then half a cosine down to `final`.

    The warm-up takes at most a tenth of all `steps`.
    """
    warmup = min(warmup, steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return final + (peak - final) * 0.5 * (1.0 + math.cos(math.pi * done))
