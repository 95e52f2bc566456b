"""Randomised trials on the testbed's pictures, whose effects are known: of what a picture shows, or of who drew it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.causal.cate.trial_units import TrialUnits
from intaglio.metrics.similarity.measures import Embedding, load_similarity
from intaglio.models import testbed
from intaglio.randomness import numpy_generator

NOISE = 0.5
"""Standard deviation of outcomes that nothing explains."""
PROPENSITY = 0.5
GAINS: Mapping[str, Callable[[str], bool]] = {
    "face": lambda caption: "face" in caption.split(",")[0].split(),
    "noto": lambda caption: caption.endswith("noto style"),
}
"""Which pictures gain 1 by treatment, by their captions; the others gain nothing."""


@dataclass(frozen=True, eq=False)
class GainingPictures:
    """Pictures as units: who gains, what moves outcomes besides, and features that tell them apart."""

    names: tuple[str, ...]
    gains: Float[ndarray, "n"]
    """True effects, 0 or 1."""
    base: Float[ndarray, "n"]
    """Part of outcomes that both arms share: the standardised spread of the picture's colours."""
    features: Mapping[str, Float[ndarray, "n _"]]
    """By name: the embedded encoder's descriptors; what the heads of the embedded classifier of kinds and artists take;
    mean and standard deviation of red, green and blue."""

    def trial(self, features: str, number: int, seed: int) -> TrialUnits:
        """A trial whose treatments and noise are drawn anew for each number."""
        source = numpy_generator(seed, number)
        treated = source.random(len(self.names)) < PROPENSITY
        noise = NOISE * source.standard_normal(len(self.names))
        outcome = self.base + treated * self.gains + noise
        chance = np.full(len(self.names), PROPENSITY)
        return TrialUnits(self.names, outcome, treated, chance, self.features[features])


def gaining_pictures() -> dict[str, GainingPictures]:
    """All pictures of the testbed that differ, by who gains."""
    hashes, pixels, captions = distinct_pictures()
    names = tuple(hashes)
    encoder = load_similarity("embedded", "cpu")
    descriptors = encoder.embed(pixels).double().numpy() if isinstance(encoder, Embedding) else np.empty((0, 0))
    with torch.no_grad():
        taken = torch.cat([testbed.classifier().features(some) for some in pixels.split(128)]).double().numpy()
    colours = torch.cat([pixels.mean((2, 3)), pixels.std((2, 3))], 1).double().numpy()
    spread = (pixels.amax(1) - pixels.amin(1)).mean((1, 2)).double().numpy()
    base = (spread - spread.mean()) / spread.std()
    features = {"encoder": descriptors, "classifier": taken, "colour": colours}
    return {
        gain: GainingPictures(names, np.array([float(gains(one)) for one in captions]), base, features)
        for gain, gains in GAINS.items()
    }
