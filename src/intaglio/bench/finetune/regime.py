"""The regime of the fine-tune bench, and the forms of each method that it compares."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

from intaglio.adapt.family import FineTuner
from intaglio.adapt.settings import Watch
from intaglio.bench.kit.methods import default_method
from intaglio.verbs import VERBS

Form = Literal["plain", "bayes", "ema"]
TUNERS = tuple(name for name in VERBS["finetune"].methods if not default_method("finetune", name).private)
"""Methods that have a Bayesian form to compare with; those that keep pictures private have none."""
PAIR: tuple[Form, Form] = ("plain", "bayes")
"""The published comparison: the method as it is, and with random weights."""
AVERAGED: Form = "ema"
"""The plain form with an exponential mean of its weights: the older remedy, judged beside the two."""
FORMS: tuple[Form, ...] = (*PAIR, AVERAGED)
CHOSEN_ON = ("mammals", "hands")
"""The sets that rates, steps and sigmas were chosen on; the bench leaves them out unless they are named."""


@dataclass(frozen=True)
class FewShotRegime:
    """Settings of every fine-tune of the bench; with the defaults the plain form falls into the corruption stage.

    One picture, as the corruption stage is clearest with one: four fall less.
    """

    pictures: int = 1
    """Training pictures."""
    steps: int = 240
    """Updates of the weights."""
    every: int = 24
    """Steps between two judgements."""
    ema: float = 0.95
    """Decay of the mean of the weights, in (0, 1)."""
    class_pictures: int = 0
    """Drawn by the base, for prior preservation with a weight of 1; 0 leaves it out."""
    learning_rate: float | None = None
    """Learning rate of every method, above 0; None takes each method's own (`FineTuner.bench`)."""
    sigma: float | None = None
    """Standard deviation of the random weights at the start, above 0; None takes each method's own."""
    down: Literal["kaiming", "gaussian"] = "kaiming"
    """Initial values of down, for methods with a low-rank update."""

    def tuner(self, name: str, seed: int, form: Form) -> FineTuner:
        """One form of the method of that name: its defaults, its settings for this bench, those of the regime."""
        method = cast(FineTuner, default_method("finetune", name, steps=self.steps, seed=seed, down=self.down))
        asked = {"learning_rate": self.learning_rate, "sigma": self.sigma}
        own = {**method.bench, **{key: value for key, value in asked.items() if value is not None}}
        sigma = own.pop("sigma", method.sigma)
        further = {"bayes": {"bayesian": True, "sigma": sigma}, AVERAGED: {"ema": self.ema}}
        return replace(method, **own, **further.get(form, {}))

    def watch(self) -> Watch:
        """Six pictures of the prompt a judgement, drawn with guidance."""
        return Watch(sample_count=0, watch_every=self.every, watch_count=6, watch_steps=8)

    def described(self, names: Sequence[str]) -> dict[str, Any]:
        """The regime as plain values, with the learning rate and sigma of each method."""
        tuners = {name: self.tuner(name, 0, "bayes") for name in names}
        return {
            **asdict(self),
            "learning_rate": {name: tuner.highest_rate for name, tuner in tuners.items()},
            "sigma": {name: tuner.sigma for name, tuner in tuners.items()},
        }


USUAL = FewShotRegime()
"""The regime of the published figures."""
