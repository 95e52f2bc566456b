"""left-out-points: each point replaced by itself, and the fall of the log-odds measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.explain.series.family import SeriesExplainer
from intaglio.explain.series.point_checks import log_odds
from intaglio.explain.series.series_network import Series, SeriesNetwork
from intaglio.explain.series.taught_series import SeriesLessons, encoded
from intaglio.randomness import generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.tensors import tensor_hash

KIND = "left out"
"""Of the records, one a time."""


@dataclass(frozen=True, kw_only=True)
class LeftOutPoints(SeriesExplainer):
    """Occlusion: the fall of the called class's log-odds when a point alone is replaced.

    A mean over draws, from a normal distribution with the mean and deviation of the point's time and channel.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "measured: the fall of the called class's log-odds when the point is replaced"

    def importances(
        self, network: SeriesNetwork, lessons: SeriesLessons, values: Series, called: Int[Tensor, "m"], run: Run
    ) -> Series:
        """See the room."""
        whole = log_odds(encoded(network, values, self.batch).logits, called)
        others = [
            lessons.replacements(len(values), generator(self.seed, "left out", draw)) for draw in range(self.draws)
        ]
        key = digest([repr(self), tensor_hash(values), tensor_hash(whole)])
        known = {name: one["falls"] for name, one in run.recorded(KIND).items() if one["key"] == key}
        with run.progress(values.shape[1], "times", len(known)) as progress:
            for t in range(values.shape[1]):
                if str(t) not in known:
                    falls = self._falls(network, values, others, called, whole, t)
                    known[str(t)] = falls.tolist()
                    run.record(KIND, str(t), {"key": key, "falls": known[str(t)]})
                    progress.advance()
        return torch.stack([torch.tensor(known[str(t)], dtype=values.dtype) for t in range(values.shape[1])], 1)

    def _falls(
        self,
        network: SeriesNetwork,
        values: Series,
        others: Sequence[Series],
        called: Int[Tensor, "m"],
        whole: Float[Tensor, "m"],
        t: int,
    ) -> Float[Tensor, "m d"]:
        """Mean falls at one time."""
        found = torch.zeros(len(values), values.shape[2])
        for channel in range(values.shape[2]):
            for other in others:
                changed = values.clone()
                changed[:, t, channel] = other[:, t, channel]
                fall = whole - log_odds(encoded(network, changed, self.batch).logits, called)
                found[:, channel] += fall / len(others)
        return found

    def seconds(self, learnt: int, held: int, points: int, step: float, row: float) -> float:
        """A pass a point and draw."""
        return row * held * points * self.draws
