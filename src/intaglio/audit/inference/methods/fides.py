"""fides: a detector of attacked answers and a re-classifier, trained against an attacker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.inference.attack_detector import (
    DetectorSettings,
    Learnt,
    detected,
    forget_detector,
    reclassified,
    trained_detector,
)
from intaglio.audit.inference.class_answers import Answers
from intaglio.audit.inference.family import ResultCheck
from intaglio.errors import require
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Fides(ResultCheck):
    """Fides: a detector reads how far the service's answer lies from its student's.

    With p the service's answer and q the student's, a perceptron D gives the log odds that p was attacked, of the
    divergences u(p, q): both Kullback-Leibler divergences, Jensen-Shannon, total variation, entropies, margins of
    either's two most probable classes in both, and the rank of either's first class in the other. D is the score. A
    second perceptron R gives the class in place of an answer that does not pass, of (log p, log q). Both are trained
    against a third, which makes of p an answer with another first class that D takes for clean, at a cost above a
    divergence of kappa, and on answers to other pictures and swaps (`intaglio.audit.inference.attack_detector`). The
    p-values do not rest on D being right.

    Source: arXiv 2304.00083, of which the abstract and public summaries were read: a verification model distilled
    greedily from the service, a detector on divergences, a re-classifier, and a generative adversarial framework for
    both. Its layers, losses, features and settings were not read; all of these here are this project's design.
    """

    reading: ClassVar[str] = "divergences of the service's answer from its student's, as a trained detector reads them"

    rounds: int = 3000
    """Updates of detector, re-classifier and attacker, from 1."""
    round_rows: int = 128
    """Pairs of answers an update, from 1."""
    width: int = 64
    """Units of each of the two hidden layers, 1 to 4096."""
    round_rate: float = 1e-3
    """Highest learning rate of AdamW in these updates, which falls along half a cosine; above 0."""
    kappa: float = 3.0
    """Divergence KL(attacked || clean) up to which the attacker pays nothing, nats, from 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rounds", "round_rows"):
            require(getattr(self, name) >= 1, f"{name} must be 1 or more, not {getattr(self, name)}")
        require(1 <= self.width <= 4096, f"width must be 1 to 4096, not {self.width}")
        require(0 < self.round_rate < float("inf"), f"round_rate must be above 0, not {self.round_rate}")
        require(0 <= self.kappa < float("inf"), f"kappa must be 0 or more, and finite, not {self.kappa}")

    def learn(self, p: Answers, q: Answers, run: Run) -> Learnt:
        """Detector and re-classifier."""
        return trained_detector(p, q, self._settings(self.rounds), run)

    def _settings(self, rounds: int) -> DetectorSettings:
        return DetectorSettings(rounds, self.round_rows, self.width, self.round_rate, self.kappa, self.seed)

    def updates(self) -> int:
        """The rounds."""
        return self.rounds

    def update(self, classes: int) -> Callable[[], object]:
        """A training of one round on blank answers."""
        even = torch.full((2, classes), 1 / classes, dtype=torch.float64)
        return lambda: trained_detector(even, even, self._settings(1), Run.none())

    def score(self, learnt: Learnt, p: Answers, q: Answers) -> Float[Tensor, "n"]:
        """Log odds of an attack."""
        return detected(learnt, p, q)

    def repaired(self, learnt: Learnt, p: Answers, q: Answers) -> Answers:
        """By the re-classifier."""
        return reclassified(learnt, p, q).softmax(1)

    def forget(self, run: Run, stages: int) -> None:
        """Drops the states of all trainings."""
        super().forget(run, stages)
        forget_detector(run)
