"""`HeldOutErrors`: the denoising error of pictures that neither choice nor recovery saw, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from intaglio.errors import BadInput

SHARE = 5
"""One of so many pictures is held out, and at least one."""


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Mean squared errors of the same pictures, timesteps and noises in three models."""

    before: Float[Tensor, " n"]
    pruned: Float[Tensor, " n"]
    recovered: Float[Tensor, " n"] | None = None
    """None where nothing was trained after pruning."""

    def figures(self) -> dict[str, Any]:
        """Means; with two pictures and more also the 95% interval of the rise, by Student's t over the pictures."""
        last = self.pruned if self.recovered is None else self.recovered
        rise = (last - self.before).double().numpy()
        return {
            "pictures": len(rise),
            "before": float(self.before.double().mean()),
            "pruned": float(self.pruned.double().mean()),
            "recovered": None if self.recovered is None else float(self.recovered.double().mean()),
            "rise": float(rise.mean()),
            "rise_interval_95": _interval(rise),
        }


def _interval(values: Any) -> list[float] | None:
    if len(values) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return [float(values.mean()) - half, float(values.mean()) + half]


def held_out_places(hashes: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places of the pictures to learn from and of those held out, a fifth by content, so that no copy is in both.

    Raises `BadInput` where all pictures are the same.
    """
    distinct = sorted(set(hashes))
    if len(distinct) < 2:
        raise BadInput("one picture is held out, so two different ones or more are due; give a folder with more")
    held = set(distinct[: max(1, len(distinct) // SHARE)])
    rest = [place for place, one in enumerate(hashes) if one not in held]
    return rest, [place for place, one in enumerate(hashes) if one in held]
