"""few-shot: clipped gradients of each picture and noise on their sum, at a stated epsilon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

from torch import Tensor

from intaglio.errors import require
from intaglio.learning.private import Key, known_key, new_key, private_gradient
from intaglio.learning.private_budget import PrivacyBudget
from intaglio.metrics.privacy import PrivacyReport
from intaglio.protect.private.classifier_learner import ClassifierLearner
from intaglio.protect.private.family import PrivateTrainer


@dataclass(frozen=True, kw_only=True)
class PrivateFewShot(PrivateTrainer):
    """Few-shot training of a classifier with differential privacy of each picture.

    Step by step each of N pictures is taken with probability q = min(1, batch / N) by itself, the gradient g of its
    cross-entropy is clipped, and Adam follows

        (sum of g min(1, bound / |g|) + N(0, (sigma bound)^2)) / (q N)

    where sigma is the least noise at which all steps keep (epsilon, delta), by an accountant; q = 1 has a closed form.
    Noise and draws follow from a fresh secret, which is kept only while the run can still go on. The stages are those
    of a classifier that was trained in public; normalisations keep its means and variances.

    Source: arXiv 2302.01190 (few-shot transfer under differential privacy: head, FiLM or all weights), 1607.00133.
    """

    reading: ClassVar[str] = "learns each picture’s class by clipped gradients, with noise on their sum"

    epsilon: float = 8.0
    """Privacy that is asked for, of all tries together, in (0, 100]: the probability of any result changes at most by
    the factor e^epsilon where one picture is left out, but for delta."""
    delta: float | None = None
    """Probability in (0, 1) by which epsilon may fail, of all tries together, at most 1 / (10 N); None takes that."""
    bound: float = 1.0
    """Largest norm of a picture's gradient over all weights that learn (C), above 0; longer ones are scaled down."""
    tries: int = 1
    """Trainings on the same pictures from which one is chosen, this one included, from 1; each is given epsilon / tries
    at delta / tries."""
    accountant: Literal["pld", "rdp"] = "pld"
    """Accounting of steps that take a part of the pictures: pld, by the privacy loss distribution, or rdp, by Renyi
    divergences, which asks for more noise."""
    noise_seed: int | None = None
    """Seed of noise and draws of pictures, 0 or more, to repeat a training bit by bit; it voids the guarantee, as noise
    that can be drawn again can be subtracted. None draws a fresh secret."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._budget  # noqa: B018 - checks its settings
        require(0 < self.bound < inf, f"bound must be above 0, not {self.bound}")
        require(self.noise_seed is None or self.noise_seed >= 0, f"noise_seed must not be negative: {self.noise_seed}")

    @property
    def known_noise(self) -> bool:
        """Whether a seed is given."""
        return self.noise_seed is not None

    def secret(self) -> Key:
        """Of the operating system, or by the seed."""
        return new_key() if self.noise_seed is None else known_key(self.noise_seed)

    def report(self, records: int) -> PrivacyReport:
        """The accounted privacy of all tries. Raises `BadInput` where dp-accounting is needed and missing."""
        return self._budget.report(records, self.batch, self.steps)

    def gradient(
        self, learner: ClassifierLearner, weights: Mapping[str, Tensor], chosen: Sequence[int], step: int, key: Key
    ) -> dict[str, Tensor]:
        """The noised mean of clipped gradients."""
        records = len(learner.labels)
        made = self._budget.noisy_steps(records, self.batch, self.steps)
        about = {"sigma": made.sigma, "expected": made.rate * records, "step": step, "key": key}
        return private_gradient(learner.rows(weights, chosen), weights, bound=self.bound, **about)

    @property
    def _budget(self) -> PrivacyBudget:
        return PrivacyBudget(epsilon=self.epsilon, delta=self.delta, tries=self.tries, accountant=self.accountant)
