"""When a few-shot fine-tune falls into the corruption stage: a rule over what its pictures looked like on the way.

Likeness to the training pictures first rises; then it may fall, while the pictures fill with coloured noise, and rise
again into mere copies (arXiv 2405.19931, figure 1). The training loss shows none of it. A short early dip that heals
by itself, with random weights or without, is no corruption; so a fall must last, and noise must rise with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SETTLING = 3
"""First judgements that set no mark yet: there the model only begins to turn to its pictures."""
FALL, QUALITY_FALL = 0.05, 0.02
"""What likeness and quality must at least fall by, on their own scales, to count."""
ERRORS = 3.0
"""A fall must also exceed so many standard errors of the judgement."""
LASTING = 2
"""Judgements on end that a fall must hold."""
BETTER = 0.02
"""A later step is only kept in place of an earlier one if it is better by this much."""
COPY = 0.95
"""Likeness from which on pictures are called copies."""
DRAWS = 200


@dataclass(frozen=True)
class Judgement:
    """What pictures of fixed seeds looked like after some step."""

    step: int
    fidelity: float
    """Mean likeness of a picture to its nearest training picture, at most 1."""
    fidelity_error: float
    """Its standard error, from pictures drawn again with replacement."""
    quality: float
    """Freedom from noise, in (0, 1]; a proxy (see `watching`)."""
    quality_error: float
    diversity: float
    """1 less the mean likeness between the pictures; near 0 where all are the same."""
    roughness: float = 0.0
    """Mean power of what a median takes out of a picture."""
    pass_through: float = 0.0
    """What the denoiser itself says (`probes.Probes`), of this and the three below; 0 in a curve of an older run."""
    pass_through_error: float = 0.0
    collapse: float = 0.0
    deviation: float = 0.0

    @property
    def score(self) -> float:
        """Fidelity and quality together: what the best step has most of."""
        return self.fidelity + self.quality


@dataclass(frozen=True)
class Stage:
    """A corruption stage, by the steps of judgements."""

    first: int
    """Where the fall began to hold."""
    detected: int
    """Where the rule was sure of it."""
    last: int
    """The last judgement of the stage; that of the curve where it did not end."""


def stages(curve: Sequence[Judgement]) -> list[Stage]:
    """The corruption stages of a curve, in order; a prefix of the curve has the same ones up to its end.

    A judgement is suspect where fidelity is below its running maximum by more than 0.05 and three standard errors. A
    stage begins where two judgements on end are suspect and, by the second, quality fell in the same way by more than
    0.02; it lasts while judgements are suspect. The first three judgements set no maximum.
    """
    found: list[Stage] = []
    fidelity = quality = -np.inf
    held: list[int] = []
    for place, now in enumerate(curve):
        if place >= SETTLING - 1:
            fidelity, quality = max(fidelity, now.fidelity), max(quality, now.quality)
        if not _fell(fidelity - now.fidelity, FALL, now.fidelity_error):
            held = []
            continue
        held.append(now.step)
        if found and found[-1].first == held[0]:
            found[-1] = Stage(found[-1].first, found[-1].detected, now.step)
        elif len(held) >= LASTING and _fell(quality - now.quality, QUALITY_FALL, now.quality_error):
            found.append(Stage(held[0], now.step, now.step))
    return found


def copies(curve: Sequence[Judgement]) -> bool:
    """Whether the last pictures are near copies: likeness of 0.95 or more, and half the base's diversity or less."""
    return bool(curve) and curve[-1].fidelity >= COPY and curve[-1].diversity <= curve[0].diversity / 2


def best(curve: Sequence[Judgement]) -> Judgement | None:
    """The earliest of the best judgements after the base's own; None where there is none.

    A later one takes its place only if its score is higher by 0.02: of equals, the one that is less of a copy.
    """
    kept = None
    for now in curve:
        if now.step and (kept is None or now.score > kept.score + BETTER):
            kept = now
    return kept


@dataclass(frozen=True)
class Dip:
    """The deepest fall of a curve below what it had reached."""

    depth: float
    """Running maximum less value, where that is largest; 0 for a curve that never falls."""
    length: float
    """Share of the steps, in [0, 1], at which the value is below its running maximum by more than 0.05."""
    step: int
    """Where the fall is deepest."""
    lasting: float
    """The deepest fall that two values on end hold; jitter of single steps has less of it than a stage has."""


def dip(steps: Sequence[int], values: Sequence[float]) -> Dip:
    """The dip of a curve of `values` at `steps`; raises `ValueError` for an empty one."""
    falls = np.maximum.accumulate(np.asarray(values, float)) - np.asarray(values, float)
    place = int(falls.argmax())
    held = np.minimum(falls[1:], falls[:-1]).max(initial=0.0)
    return Dip(float(falls[place]), float((falls > FALL).mean()), int(steps[place]), float(held))


def mean_error(values: Sequence[float], seed: int = 0) -> float:
    """The standard error of a mean, from 200 bootstrap resamples."""
    data = np.asarray(values, float)
    picked = np.random.default_rng(seed).integers(len(data), size=(DRAWS, len(data)))
    return float(data[picked].mean(1).std())


def _fell(fall: float, least: float, error: float) -> bool:
    return fall > max(least, ERRORS * error)
