"""Trainers of small parts of sampling: the contract behind `intaglio sample train NAME`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor

from intaglio.models.capabilities import Encodes, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.sampling.trained_part import TrainedPart, plain
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class PartTrainer:
    """Settings of a training, and the part of sampling that it gives. The model is left as it was found."""

    name = FileName()
    """The trainer's name, which is that of its file."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    states_kept: ClassVar[tuple[str, ...]] = ()
    """Names of the states of a run that are of no use once the part is there."""

    def hashes(self, model: LatentDiffusion) -> dict[str, str]:
        """Hashes of contents outside the settings that the part depends on, by names; a verifier's for one."""
        return {}

    def seconds_beside(self, model: LatentDiffusion) -> dict[str, float]:
        """Seconds of what a training does beside the calls of networks, by its name; empty where that is little."""
        return {}

    def _part(
        self, model: LatentDiffusion, learnt: Mapping[str, Any], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> TrainedPart:
        """The part with these tensors, and beside them the settings and that which it was learnt from."""
        kept = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        return TrainedPart(self.name, model.fingerprint, plain({**asdict(self), **learnt}), kept, plain(facts))


@dataclass(frozen=True, kw_only=True)
class SamplingTrainer(PartTrainer, ABC):
    """A trainer that learns from prompts, by pictures that the model draws for them."""

    steps: int = 20
    """Steps of DDIM by which the model's own pictures are drawn for the training, 1 to 1000."""
    scale: float = 5.0
    """Guidance scale of these pictures, 0 or more, 1 for none."""
    batch: int = 8
    """Pictures drawn at once, 1 or more."""
    seed: int = 0
    """Seed of the training."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps must be 1 to 1000, not {self.steps}")
        if not 0 <= self.scale < float("inf"):
            raise ValueError(f"scale must be 0 or more, and finite, not {self.scale}")
        if self.batch < 1:
            raise ValueError(f"batch must be 1 or more, not {self.batch}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str]) -> None:
        """Raises `BadInput` for a model or prompts that it cannot be trained with; called before any work."""
        check_needs(self, model)
        timestep_grid(model.schedule, self.steps)

    @abstractmethod
    def planned(self, model: LatentDiffusion, prompts: Sequence[str]) -> Calls:
        """Calls of networks of the whole training."""

    @abstractmethod
    def __call__(self, model: LatentDiffusion, prompts: Sequence[str], *, run: Run = Run.none()) -> TrainedPart:
        """The trained part; a run that was killed goes on and gives the same bits.

        Raises `BadInput` for a model or prompts that it cannot be trained with.
        """

    def part(
        self, model: LatentDiffusion, prompts: Sequence[str], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> TrainedPart:
        """The part with these tensors, and with these settings beside them."""
        return self._part(model, {"prompts": list(prompts)}, tensors, facts)

    @property
    def branches(self) -> int:
        """Calls of the denoiser for one prediction under the guidance."""
        return 1 if self.scale == 1 else 2


@dataclass(frozen=True, kw_only=True)
class PictureTrainer(PartTrainer, ABC):
    """A trainer that learns from pictures with captions, such as those that the model was trained on."""

    batch: int = 8
    """Pictures an update, 1 or more."""
    seed: int = 0
    """Seed of the training."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be 1 or more, not {self.batch}")

    def check(self, model: LatentDiffusion, pictures: CaptionedLatents) -> None:
        """Raises `BadInput` for a model or pictures that it cannot be trained with; called before any work."""
        check_needs(self, model)

    @abstractmethod
    def planned(self, model: LatentDiffusion, pictures: CaptionedLatents) -> Calls:
        """Calls of networks of the whole training, beside the encoding of the pictures."""

    @abstractmethod
    def __call__(self, model: LatentDiffusion, pictures: CaptionedLatents, *, run: Run = Run.none()) -> TrainedPart:
        """The trained part; a run that was killed goes on and gives the same bits.

        Raises `BadInput` for a model or pictures that it cannot be trained with.
        """

    def part(
        self,
        model: LatentDiffusion,
        pictures: CaptionedLatents,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
    ) -> TrainedPart:
        """The part with these tensors, and with these settings and the hash of the pictures beside them."""
        return self._part(model, {"pictures": pictures.hash}, tensors, facts)
