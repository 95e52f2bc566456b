"""`Guarantee`: the differential privacy of tuned weights in words and figures, and what it does not cover."""

from dataclasses import asdict, dataclass
from typing import Any

from intaglio.metrics.privacy import PrivacyReport

OUTSIDE = (
    "prompts and captions, which are written into the training as they are",
    "settings chosen by looking at results on these pictures, beyond the tries that were counted",
    "the number of pictures, and the base model with all that it was trained on",
    "pictures that show the same thing: each is protected by itself, and what many of them share is learned",
    "the generator of the noise, which is no cryptographic one, and the rounding of numbers (arXiv 2112.05307)",
    "the folder of the run, which holds pictures, losses and judgements; publish the weights and their card alone",
)
"""Parts of a training that the guarantee does not cover."""
VOID = "void: the noise follows from noise_seed, and whoever knows or guesses that number can subtract it"


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """The privacy of each picture of a training."""

    report: PrivacyReport
    """Epsilon, delta, accountant, and the noise and steps that they follow from."""
    known_noise: bool = False
    """Whether the noise can be drawn again, so that nothing is promised."""

    def sentence(self) -> str:
        """The guarantee in words, led by a warning where it does not hold."""
        said = self.report.sentence()
        return f"{VOID}; with secret noise it would be {said}" if self.known_noise else said

    def figures(self) -> dict[str, Any]:
        """Plain values for a run's summary."""
        return {
            "guarantee": f"{self.sentence()}.",
            "guarantee_holds": not self.known_noise,
            "privacy": asdict(self.report),
            "outside_guarantee": list(OUTSIDE),
        }

    def lines(self) -> list[str]:
        """Lines of a card: the guarantee, then what lies outside."""
        outside = [f"  - {one}" for one in OUTSIDE]
        return [f"- Privacy: {self.sentence()}", "- Outside the guarantee:", *outside]
