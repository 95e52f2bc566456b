"""Denoising losses of models on the same pictures, with intervals over the pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from intaglio.metrics.statistics.interval import interval

Losses = Float[np.ndarray, " n"]
"""A model's loss on each picture, the mean over the same timesteps and noises for every model."""


def loss_rows(losses: Mapping[str, Losses], merged: Losses) -> list[dict[str, Any]]:
    """For each model its mean loss, and that of the merged one less it, with 95% intervals."""
    return [
        {"model": name, **mean_with_interval(each), **_named("merged_less_it", merged - each)}
        for name, each in losses.items()
    ]


def gain(parts: Sequence[Losses], merged: Losses) -> dict[str, Any]:
    """The mean loss of its parts less that of the merged model, with the 95% interval over pictures."""
    return _named("gain", np.mean(np.stack(parts), 0) - merged)


def mean_with_interval(losses: Losses) -> dict[str, Any]:
    """The mean loss with its 95% interval, by the bootstrap over the pictures; None where there is one picture."""
    return _named("loss", losses)


def _named(name: str, values: NDArray) -> dict[str, Any]:
    found = interval(lambda drawn: drawn.mean(-1), [values]) if len(values) > 1 else None
    return {name: float(np.mean(values)), f"{name}_interval_95": None if found is None else list(found)}
