"""Searches of the initial noise: of whole pictures from several noises, the one that a verifier scores highest is kept.

A search is a function of the picture's seed and of the scores: two pictures share no candidate but the law of the
noise, and a search that starts again finds the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import unit_noise
from intaglio.randomness import generator
from intaglio.sampling.verifier import Verifier

NoisePath = tuple[int, ...]
"""A candidate's name: whole numbers that give its noise, with the picture's seed; empty for the picture's own noise."""
Noise = Float[Tensor, "c h w"]


@dataclass(frozen=True, eq=False)
class FoundNoise:
    """The best candidate of a picture."""

    path: NoisePath
    score: float
    """The verifier's score; -inf where no candidate had one."""
    pixels: Float[Tensor, "3 h w"]
    rows: int
    """Candidates of the batch that it was drawn in."""
    scores: tuple[float, ...]
    """Of all candidates in the order of their drawing, the picture's own noise first."""


class Candidates:
    """The candidates of one picture: so many are drawn and scored at most, and the best is kept.

    Args:
        draw: pictures [k, 3, h, w] from candidates' paths.
        verifier: scores them; one without a finite score counts as -inf.
        prompt: of the picture.
        count: candidates at most, 1 or more.
        batch: candidates drawn at once.
    """

    def __init__(
        self, draw: Callable[[Sequence[NoisePath]], Tensor], verifier: Verifier, prompt: str, count: int, batch: int
    ):
        self._draw, self._verifier, self._prompt, self._batch = draw, verifier, prompt, batch
        self._best: FoundNoise | None = None
        self._scores: list[float] = []
        self.left = count

    def scores(self, paths: Sequence[NoisePath]) -> list[float]:
        """The candidates' scores. Raises `ValueError` for more than are left."""
        if len(paths) > self.left:
            raise ValueError(f"{len(paths)} candidates are more than the {self.left} that are left")
        before = len(self._scores)
        for first in range(0, len(paths), self._batch):
            part = paths[first : first + self._batch]
            pixels = self._draw(part)
            scores = self._verifier(pixels, [self._prompt] * len(part)).double()
            scores = scores.masked_fill(~scores.isfinite(), -torch.inf)
            k = int(scores.argmax())
            if self._best is None or scores[k] > self._best.score:
                self._best = FoundNoise(part[k], float(scores[k]), pixels[k], len(part), ())
            self._scores += scores.tolist()
        self.left -= len(paths)
        return self._scores[before:]

    @property
    def found(self) -> FoundNoise:
        """The best so far, the first of equals. Raises `ValueError` before any was drawn."""
        if self._best is None:
            raise ValueError("no candidate was drawn yet")
        best = self._best
        return FoundNoise(best.path, best.score, best.pixels, best.rows, tuple(self._scores))


@dataclass(frozen=True, kw_only=True)
class NoiseSearch(ABC):
    """A search of the noise of one picture, by candidates named by paths."""

    name: ClassVar[str]
    """As a command line has it."""

    @abstractmethod
    def noise(self, seed: int, path: NoisePath, shape: Sequence[int]) -> Noise:
        """The noise of a candidate, float64 on the CPU."""

    @abstractmethod
    def seek(self, candidates: Candidates) -> None:
        """Has candidates drawn, the picture's own noise first, until none is left."""


def own_noise(seed: int, shape: Sequence[int]) -> Noise:
    """The noise that a picture has without a search, float64."""
    return fresh_noise(seed, 0, shape)


def fresh_noise(seed: int, number: int, shape: Sequence[int]) -> Noise:
    """The noise of that number among a picture's candidates, float64; 0 for its own."""
    return unit_noise(shape, [noise_source(seed, number)])[0].double()


def noise_source(seed: int, number: int) -> torch.Generator:
    """The source of noise of a candidate of a picture; that of the first, number 0, is the picture's own."""
    return generator(seed, "search", number) if number else torch.Generator().manual_seed(seed)
