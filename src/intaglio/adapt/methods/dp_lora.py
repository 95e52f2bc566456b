"""DP-LoRA: low-rank updates tuned with differential privacy of each picture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from intaglio.adapt.cost import Plan
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.family import FineTuner
from intaglio.adapt.guarantee import VOID, Guarantee
from intaglio.adapt.low_rank_tuning import FURTHER_TARGETS, LowRankTuning
from intaglio.adapt.own_steps import OwnSteps
from intaglio.adapt.private_steps import PrivateSteps
from intaglio.adapt.settings import Watch
from intaglio.adapt.trainable import Trainable
from intaglio.errors import BadInput, require
from intaglio.learning.private import known_key, new_key
from intaglio.learning.private_budget import FULL_BELOW, PrivacyBudget
from intaglio.learning.sharing_processes import Processes
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import DENOISER_TARGETS


@dataclass(frozen=True, kw_only=True)
class DPLoRATuning(LowRankTuning):
    """DP-LoRA: train low-rank updates with differential privacy of each picture.

    Step by step each of N pictures is taken with probability q = min(1, batch / N) by itself, its gradient g (a mean
    over `draws` noises and timesteps) is clipped, and AdamW follows

        (sum of g min(1, bound / |g|) + N(0, (sigma bound)^2)) / (q N)

    where sigma is the least noise at which all steps keep (epsilon, delta), by an accountant; q = 1 has a closed form.
    Noise and draws of pictures follow from a fresh secret, which is kept only while the run can still go on.

    By default down stays as it began, random, and only up is trained: noise on both would be multiplied in up @ down,
    and half as many numbers take less of it. Noise of norm sigma bound sqrt(numbers) meets a signal of at most q N
    bound: ten pictures teach next to nothing at a usual epsilon.

    Source: arXiv 1607.00133 (clipping and noise), 2210.09929 (several noises a picture), 2403.12313 (down at rest).
    """

    reading: ClassVar[str] = "Low-rank update tuned with differential privacy (DP-LoRA)"
    private: ClassVar[bool] = True
    usual_rate: ClassVar[float] = 1e-4
    embedded_rate: ClassVar[float] = 1e-3
    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({"targets": (*DENOISER_TARGETS, *FURTHER_TARGETS)})

    steps: int = 200
    """Updates of the weights; each of them spends some of the privacy, so that more steps take more noise."""
    learning_rate: float | None = None
    """Highest learning rate of AdamW, above 0; None takes 1e-4, and 1e-3 for an embedded model, which is small."""
    batch: int = FULL_BELOW
    """Pictures of a step on average (q N); as many as there are, or more, takes all of them in every step."""
    clip: float | None = None
    """Largest norm of the noised gradient over all trained weights; None leaves it as it is. See `bound` for that of a
    picture."""
    epsilon: float = 8.0
    """Privacy that is asked for, of all tries together, in (0, 100]: the probability of any result changes at most by
    the factor e^epsilon where one picture is left out, but for delta."""
    delta: float | None = None
    """Probability in (0, 1) by which epsilon may fail, of all tries together, at most 1 / (10 N); None takes that."""
    bound: float = 1.0
    """Largest norm of a picture's gradient over all trained weights (C), above 0; longer ones are scaled down to it."""
    draws: int = 4
    """Noises and timesteps over which a picture's gradient is a mean before it is clipped, from 1; they cost time and
    no privacy."""
    train_down: bool = False
    """Train down along with up."""
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
        require(0 < self.bound < math.inf, f"bound must be above 0, not {self.bound}")
        require(self.draws >= 1, f"draws must be at least 1, not {self.draws}")
        require(self.noise_seed is None or self.noise_seed >= 0, f"noise_seed must not be negative: {self.noise_seed}")
        require(
            not self.bayesian, "bayesian does not go with dp-lora: the accounting knows no random weights; leave it out"
        )
        require(
            self.precision != "float16",
            "precision float16 does not go with dp-lora: it scales losses, and with them what the bound clips; take "
            "bfloat16 or float32",
        )

    def fitted(self, data: TrainingSet) -> "FineTuner":
        """With batch and delta for these pictures. Raises `BadInput` for pictures whose privacy would not be told."""
        count = len(data.images)
        if data.class_images is not None:
            raise BadInput(
                "dp-lora takes no class pictures: they weigh in every step, and nothing shows whether they were drawn "
                "from private ones; leave them out"
            )
        if max(data.images.repeats) > 1:
            raise BadInput(
                "a picture that is trained on several times is protected less than the guarantee says; give dp-lora "
                "pictures without repeats, in a folder whose name does not begin with a number"
            )
        if data.distinct < count:
            raise BadInput(
                f"{count - data.distinct} of {count} pictures are there twice, and would be protected less than the "
                "guarantee says; give dp-lora each picture once"
            )
        return replace(self, batch=min(self.batch, count), delta=self._budget.delta_of(count))

    def check_course(self, watch: Watch, processes: Processes) -> None:
        """Raises `BadInput` where the private pictures would choose the step, or steps be shared."""
        if watch.keep == "best" or watch.on_corruption == "stop":
            flag = "--keep best" if watch.keep == "best" else "--on-corruption stop"
            raise BadInput(
                f"{flag} looks at the private pictures, which the guarantee does not count; leave it out with dp-lora"
            )
        if not processes.alone:
            raise BadInput("dp-lora draws its noise in one process; start it by itself")

    def trainable(self, model: LatentDiffusion) -> Trainable:
        """Up of every target, and with `train_down` down."""
        found = super().trainable(model)
        weights = {name: one for name, one in found.weights.items() if self.train_down or name in found.scales}
        told = () if self.noise_seed is None else (f"the guarantee is {VOID}",)
        return replace(found, weights=weights, warnings=(*found.warnings, *told))

    def own_steps(self, model: LatentDiffusion, trainable: Trainable, data: TrainingSet) -> OwnSteps:
        """Private steps, whose secret is saved with the state of the training."""
        key = new_key() if self.noise_seed is None else known_key(self.noise_seed)
        records = len(data.images)
        made = self._budget.noisy_steps(records, self.batch, self.steps)
        steps = PrivateSteps(model, trainable.weights, self, made, records, self.bound, self.draws, key)
        return OwnSteps(steps, {"private key": key})

    def guarantee(self, data: TrainingSet) -> Guarantee:
        """The accounted privacy of all tries. Raises `BadInput` where dp-accounting is needed and missing."""
        report = self._budget.report(len(data.images), self.batch, self.steps)
        return Guarantee(report=report, known_noise=self.noise_seed is not None)

    def step_size(self, prior: bool) -> int:
        """Pictures that pass the network in a step, each as often as it is drawn."""
        return self.batch * self.draws

    def pass_size(self, prior: bool) -> int:
        """Draws of one picture, whose gradient is clipped before the next one passes."""
        return self.draws

    def _planned(self, model: LatentDiffusion, data: TrainingSet, *, dry: bool = False) -> Plan:
        """The plan of as many shared passes: a picture by itself is a micro-batch of its draws."""
        at_once = min(self.micro_batch or self.draws, self.draws)
        passes = replace(self, batch=self.batch * self.draws, micro_batch=at_once)
        return replace(FineTuner._planned(passes, model, data, dry=dry), batch=self.batch)

    @property
    def _budget(self) -> PrivacyBudget:
        return PrivacyBudget(epsilon=self.epsilon, delta=self.delta, tries=self.tries, accountant=self.accountant)
