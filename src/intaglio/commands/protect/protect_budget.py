"""`intaglio protect budget`: the differential privacy that a noisy training spends, or the noise for a wanted one."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from intaglio.commands.kit.console import say, say_json
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.metrics.privacy import PrivacyReport

FALSE_POSITIVES = 0.01


@dataclass(frozen=True, kw_only=True)
class ProtectBudget:
    """Account for a training whose steps clip each picture's gradient and add noise (DP-SGD), before it runs.

    Give the noise with --sigma, or an epsilon that it must not exceed with --epsilon. Every picture is in a step with
    the same probability, by itself; batches that are shuffled and cut are another mechanism, and not covered.
    """

    records: int
    """Pictures that are trained on, from 1."""
    steps: int
    """Steps of the training, from 1."""
    batch: int | None = None
    """Pictures of a step on average, from 1; none takes all of them in every step."""
    sigma: float | None = None
    """Noise in units of the clipping bound, above 0."""
    epsilon: float | None = None
    """Epsilon, of all tries, for which the least noise is looked for; above 0 and at most 100."""
    delta: float | None = None
    """Delta, of all tries, in (0, 1); none takes a tenth of 1 / records. At 1 / records one picture could be published
    outright."""
    tries: int = 1
    """Trainings on the same pictures from which one is chosen, from 1; all of them are paid for."""
    accountant: Literal["pld", "rdp"] = "pld"
    """Accounting of Poisson batches: pld, by the privacy loss distribution, or rdp, by Renyi divergences, which gives a
    larger epsilon. Full batches are exact by a closed form under pld."""
    json: bool = False
    """End with the figures as one line of JSON on standard output."""

    def __post_init__(self) -> None:
        for name in ("records", "steps", "tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch is not None and not 1 <= self.batch <= self.records:
            raise ValueError(f"batch must be 1 to the {self.records} records, not {self.batch}")
        if self.sigma is not None and not 0 < self.sigma < float("inf"):
            raise ValueError(f"sigma must be above 0, and finite, not {self.sigma}")
        if self.epsilon is not None and not 0 < self.epsilon <= 100:
            raise ValueError(f"epsilon must be above 0 and at most 100, not {self.epsilon}")
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(f"delta must lie between 0 and 1, not {self.delta}")

    def check_early(self) -> None:
        """Raises `BadInput` unless either the noise or an epsilon is given."""
        if (self.sigma is None) == (self.epsilon is None):
            raise BadInput("give either the noise with --sigma or the epsilon that it must keep with --epsilon")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.metrics.privacy import NoisySteps, PrivacyReport, sigma_for

        delta = 0.1 / self.records if self.delta is None else self.delta
        rate = 1.0 if self.batch is None else self.batch / self.records
        sigma = self.sigma
        if sigma is None:
            one = (self.epsilon or 0.0) / self.tries, delta / self.tries
            sigma = sigma_for(*one, rate=rate, steps=self.steps, accountant=self.accountant)
        made = NoisySteps(rate=rate, sigma=sigma, steps=self.steps)
        about: dict[str, Any] = {"delta": delta, "records": self.records, "tries": self.tries}
        report = PrivacyReport.of(made, accountant=self.accountant, **about)
        found = {**asdict(report), "highest_tpr_at_1_percent": self._bound(made.mu, rate)}
        if self.json:
            say_json(found)
        else:
            _tell(report, found["highest_tpr_at_1_percent"])
        return 0

    def _bound(self, mu: float, rate: float) -> float | None:
        """The most that an attack on one of the tries reaches; None for Poisson batches, which have no closed form."""
        from intaglio.metrics.privacy import highest_true_positive_rate

        return highest_true_positive_rate(mu, FALSE_POSITIVES) if rate == 1 and self.tries == 1 else None


def _tell(report: "PrivacyReport", bound: float | None) -> None:
    say(f"{report.sentence()}.")
    if bound is not None:
        say(f"No attack that calls 1% of the pictures outside the set calls more than {bound:.1%} of those inside it.")
