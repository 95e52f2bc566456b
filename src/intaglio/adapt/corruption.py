"""The corruption stage of few-shot fine-tuning: a detection rule over judgements of sample pictures.

Similarity to the training pictures first rises; then it may fall, while the pictures fill with coloured noise, and
rise again towards copies (arXiv 2405.19931, figure 1). The training loss shows none of it. A short early dip that
ends by itself, with random weights or without, is no corruption; so a fall must last, and noise must rise with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BURN_IN = 3
"""Judgements before the running maximum begins at the last of them."""
FIDELITY_FALL, QUALITY_FALL = 0.05, 0.02
"""Least falls of fidelity and quality, on their own scales, that count."""
STANDARD_ERRORS = 3.0
"""Standard errors of the judgement that a fall must exceed too."""
CONSECUTIVE = 2
"""Judgements in a row that a fall must hold."""
LEAST_IMPROVEMENT = 0.02
"""Score by which a later step must be better to be kept in place of an earlier one."""
COPY_FIDELITY = 0.95
"""Fidelity from which on pictures are called copies."""
RESAMPLES = 200
"""Bootstrap resamples of a standard error."""


@dataclass(frozen=True)
class Judgement:
    """Measures of pictures of fixed seeds, drawn after some step."""

    step: int
    fidelity: float
    """Mean similarity of a picture to its nearest training picture, at most 1."""
    fidelity_error: float
    """Its standard error, from resampled pictures."""
    quality: float
    """Freedom from noise, in (0, 1]; a proxy (see `watching`)."""
    quality_error: float
    diversity: float
    """1 less the mean similarity between the pictures; near 0 where all are the same."""
    roughness: float = 0.0
    """Mean power of the residual of a median filter (`metrics.quality`)."""
    pass_through: float = 0.0
    """This and the three below are diagnostics of the denoiser (`probes.Probes`); 0 in a curve of an older run."""
    pass_through_error: float = 0.0
    collapse: float = 0.0
    deviation: float = 0.0

    @property
    def score(self) -> float:
        """Fidelity plus quality, by which the best step is chosen."""
        return self.fidelity + self.quality


@dataclass(frozen=True)
class Stage:
    """A corruption stage, by the steps of judgements."""

    first: int
    """The first judgement of the fall."""
    detected: int
    """The judgement at which the rule found it."""
    last: int
    """The last judgement of the stage; that of the curve where it did not end."""


def stages(curve: Sequence[Judgement]) -> list[Stage]:
    """The corruption stages of a curve, in order; a prefix of the curve has the same ones up to its end.

    A judgement is suspect where fidelity is below its running maximum by more than 0.05 and three standard errors. A
    stage begins where two judgements in a row are suspect and, by the second, quality fell in the same way by more than
    0.02; it lasts while judgements are suspect. The first three judgements set no maximum.
    """
    found: list[Stage] = []
    fidelity = quality = -np.inf
    held: list[int] = []
    for index, now in enumerate(curve):
        if index >= BURN_IN - 1:
            fidelity, quality = max(fidelity, now.fidelity), max(quality, now.quality)
        if not _fell(fidelity - now.fidelity, FIDELITY_FALL, now.fidelity_error):
            held = []
            continue
        held.append(now.step)
        if found and found[-1].first == held[0]:
            found[-1] = Stage(found[-1].first, found[-1].detected, now.step)
        elif len(held) >= CONSECUTIVE and _fell(quality - now.quality, QUALITY_FALL, now.quality_error):
            found.append(Stage(held[0], now.step, now.step))
    return found


def copies(curve: Sequence[Judgement]) -> bool:
    """Whether the last pictures are near copies: likeness of 0.95 or more, and half the base's diversity or less."""
    return bool(curve) and curve[-1].fidelity >= COPY_FIDELITY and curve[-1].diversity <= curve[0].diversity / 2


def best(curve: Sequence[Judgement]) -> Judgement | None:
    """The earliest of the best judgements after the base's own; None where there is none.

    A later one takes its place only if its score is higher by 0.02: of equals, the one that is less of a copy.
    """
    kept = None
    for now in curve:
        if now.step and (kept is None or now.score > kept.score + LEAST_IMPROVEMENT):
            kept = now
    return kept


@dataclass(frozen=True)
class Dip:
    """The deepest fall of a curve below its running maximum."""

    depth: float
    """Running maximum less value, where that is largest; 0 for a curve that never falls."""
    length: float
    """Share of the steps, in [0, 1], at which the value is below its running maximum by more than 0.05."""
    step: int
    """The step at which the fall is deepest."""
    lasting: float
    """The deepest fall that two values in a row hold; noise of single steps has less of it than a stage has."""


def dip(steps: Sequence[int], values: Sequence[float]) -> Dip:
    """The dip of a curve of `values` at `steps`; raises `ValueError` for an empty one."""
    falls = np.maximum.accumulate(np.asarray(values, float)) - np.asarray(values, float)
    deepest = int(falls.argmax())
    held = np.minimum(falls[1:], falls[:-1]).max(initial=0.0)
    return Dip(float(falls[deepest]), float((falls > FIDELITY_FALL).mean()), int(steps[deepest]), float(held))


def mean_error(values: Sequence[float], seed: int = 0) -> float:
    """The standard error of a mean, from 200 bootstrap resamples."""
    data = np.asarray(values, float)
    picked = np.random.default_rng(seed).integers(len(data), size=(RESAMPLES, len(data)))
    return float(data[picked].mean(1).std())


def _fell(fall: float, least: float, error: float) -> bool:
    return fall > max(least, STANDARD_ERRORS * error)
