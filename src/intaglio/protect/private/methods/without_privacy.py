"""without-privacy: the same training by plain gradients, which promises nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from intaglio.learning.private import Key, known_key
from intaglio.protect.private.classifier_learner import ClassifierLearner
from intaglio.protect.private.family import PrivateTrainer


@dataclass(frozen=True, kw_only=True)
class WithoutPrivacy(PrivateTrainer):
    """Plain training of a classifier on a few pictures: no clipping, no noise, no promise.

    What privacy costs is measured against it; stopped early, by few `steps`, it hides its pictures a little, for which
    there is no proof.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "learns each picture’s class by plain gradients, and promises nothing"

    seed: int = 0
    """Seed of the pictures of a step, from 0."""

    def secret(self) -> Key:
        """By the seed."""
        return known_key(self.seed)

    def report(self, records: int) -> None:
        """None."""

    def gradient(
        self, learner: ClassifierLearner, weights: Mapping[str, Tensor], chosen: Sequence[int], step: int, key: Key
    ) -> dict[str, Tensor]:
        """The gradient of the mean loss."""
        return learner.mean_gradient(weights, chosen)
