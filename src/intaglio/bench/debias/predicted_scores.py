"""Scores of the testbed's pictures, predicted by ridge regression on an encoder's descriptors, and trials on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.linear_model import RidgeCV
from torch import Tensor

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.causal.debias.trial_rows import CalibrationRows, TrialRows
from intaglio.metrics.similarity.measures import Embedding, load_similarity
from intaglio.randomness import numpy_generator

INK = 0.1
"""Darkness of the darkest colour from which on a pixel is ink."""
LEARNT, CALIBRATED = 250, 200
"""Pictures that the regression learns from, and calibration rows; trials have the others."""
UNITS = 60
"""Units of an arm of a trial."""
TILT = 0.7
"""Standard deviation of the tilt of the arms, per standard deviation of the score."""
PENALTIES = np.logspace(-4, 3, 20)

SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "saturation": lambda pixels: (pixels.amax(1) - pixels.amin(1)).mean((1, 2)),
    "warmth": lambda pixels: (pixels[:, 0] - pixels[:, 2]).mean((1, 2)),
    "ink": lambda pixels: ((1 - pixels).amax(1) > INK).float().mean((1, 2)),
}
"""Numbers of pictures [n, 3, h, w], by name: mean spread of the colours, red less blue, share of ink."""


@dataclass(frozen=True, eq=False)
class PredictedScores:
    """One score of pictures that the regression has not seen, with its predictions."""

    calibration: CalibrationRows
    truth: Float[ndarray, "m"]
    """Of the pictures that trials are of."""
    predicted: Float[ndarray, "m"]


def predicted_scores(seed: int) -> dict[str, PredictedScores]:
    """All scores of the testbed's pictures, standardised, each predicted by a ridge regression of its own."""
    _, pixels, _ = distinct_pictures()
    encoder = load_similarity("embedded", "cpu")
    features = encoder.embed(pixels).double().numpy() if isinstance(encoder, Embedding) else np.empty((0, 0))
    order = numpy_generator(seed, 0).permutation(len(pixels))
    learnt, calibrated, left = np.split(order, [LEARNT, LEARNT + CALIBRATED])
    found = dict[str, PredictedScores]()
    for name, score in SCORES.items():
        values = score(pixels).double().numpy()
        truth = (values - values.mean()) / values.std()
        model = RidgeCV(PENALTIES).fit(features[learnt], truth[learnt])
        rows = CalibrationRows(truth[calibrated], model.predict(features[calibrated]))
        found[name] = PredictedScores(rows, truth[left], model.predict(features[left]))
    return found


def drawn_trials(scores: PredictedScores, count: int, seed: int) -> tuple[TrialRows, Float[ndarray, "t"]]:
    """Trials whose units are drawn from pictures with probabilities that are tilted by the score; and their effects.

    Treated units have a probability that goes with exp(s z / 2), the others with exp(-s z / 2), z the score and s
    normal: the true effect is the difference of the two means of z, over all pictures.
    """
    source = numpy_generator(seed, 1)
    places, effects = list[ndarray](), list[float]()
    for _ in range(count):
        tilt = TILT * source.standard_normal()
        arms = [_shares(side * tilt * scores.truth / 2) for side in (1, -1)]
        places += [source.choice(len(scores.truth), UNITS, p=shares) for shares in arms]
        effects.append(float(arms[0] @ scores.truth - arms[1] @ scores.truth))
    rows = np.concatenate(places)
    treated = np.tile(np.repeat([True, False], UNITS), count)
    trial = np.repeat(np.arange(count), 2 * UNITS)
    names = tuple(f"{k:04d}" for k in range(count))
    return TrialRows(scores.predicted[rows], treated, np.ones(len(rows)), trial, names), np.array(effects)


def _shares(logits: Float[ndarray, "m"]) -> Float[ndarray, "m"]:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()
