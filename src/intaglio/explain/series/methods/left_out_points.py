"""left-out-points: each point replaced by itself, and the fall of the logit measured."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from intaglio.explain.series.family import SeriesExplainer
from intaglio.explain.series.point_checks import log_odds
from intaglio.explain.series.series_network import Series, SeriesNetwork
from intaglio.explain.series.taught_series import SeriesLessons, encoded
from intaglio.randomness import generator
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class LeftOutPoints(SeriesExplainer):
    """Occlusion: how far the called class's log-odds fall when the point alone is replaced.

    A mean over draws, from a normal distribution with the mean and deviation of the point's time and channel.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "measured: the fall of the called class's log-odds when the point is replaced"

    def importances(
        self, network: SeriesNetwork, lessons: SeriesLessons, values: Series, called: Int[Tensor, "m"], run: Run
    ) -> Series:
        """See the room."""
        _, length, channels = values.shape
        whole = log_odds(encoded(network, values, self.batch).logits, called)
        found = torch.zeros_like(values)
        with run.progress(length * channels, "points") as progress:
            for t in range(length):
                for channel in range(channels):
                    for draw in range(self.draws):
                        changed = values.clone()
                        other = lessons.replacements(len(values), generator(self.seed, "left out", draw))
                        changed[:, t, channel] = other[:, t, channel]
                        fall = whole - log_odds(encoded(network, changed, self.batch).logits, called)
                        found[:, t, channel] += fall / self.draws
                    progress.advance()
        return found

    def seconds(self, learnt: int, held: int, points: int, step: float, row: float) -> float:
        """A pass a point and draw."""
        return row * held * points * self.draws
