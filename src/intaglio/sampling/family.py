"""Sampling methods: the contract of what stands behind `intaglio sample METHOD`; the loop over batches is shared."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.capabilities import Encodes, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls
from intaglio.sampling.fixed_sampling import sampling_grid
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.sampling_batch import SamplingBatch
from intaglio.verbs import FileName


@dataclass(frozen=True)
class SamplingRequest:
    """The pictures that are asked for, before any is drawn."""

    model: LatentDiffusion
    prompts: Sequence[str]
    negative: str
    """The negative prompt; empty: none."""
    scale: float
    """The guidance scale, 1 for none."""
    steps: int
    nodes: int
    """Predictions of a walk by the sampler: one a step, or two but at the last step for a second-order one."""
    first: int | None = None
    """Timestep of the first node; None takes the schedule's last."""
    sampler: str = "ddim"
    """A key of `intaglio.sampling.samplers.SAMPLERS`; methods with steps of their own have no use for it."""
    start: str | None = None
    """Hash of what the first latents were fitted to (`Start.hash`)."""

    @property
    def grid(self) -> list[NoiseLevel]:
        """The noise levels of the steps, and the clean end."""
        return sampling_grid(self.model, self.steps, self.first)


@dataclass(frozen=True, kw_only=True)
class SamplingMethod(ABC):
    """A way to draw pictures: settings, and the latents of a batch. The model is left as it was found.

    What the command and the bench must know of a method stands in its class variables.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    own_guidance: ClassVar[bool] = False
    """Whether it combines predictions by a scale of its own, so that the guidance scale has no meaning for it."""
    own_sampler: ClassVar[bool] = False
    """Whether it takes its own steps, so that a sampler has no meaning for it."""
    draws_noise: ClassVar[bool] = False
    """Whether it draws noise beside the initial one, which alone does not tell the picture then."""
    plan_is_exact: ClassVar[bool] = True
    """Whether the planned calls are those that are made, and not the most that may be."""
    takes_distilled: ClassVar[bool] = False
    """Whether it asks the network as plain sampling does, so that a model with guidance of its own can be drawn."""
    several_negatives: ClassVar[bool] = False
    """Whether it takes negative prompts one by one."""
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    """Settings of its rows in `intaglio bench sample`, along its knob; `guidance` and `steps` are the sampling's."""

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` for pictures that it cannot draw; called before any work."""
        check_needs(self, request.model)

    def side(self, model: LatentDiffusion) -> int:
        """Pixels along a side of the pictures."""
        return model.resolution

    @abstractmethod
    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """The clean latents of a batch, float32; NaN for a picture that failed and is spared."""

    @abstractmethod
    def planned(self, request: SamplingRequest) -> Calls:
        """Calls of networks for one picture, as far as settings tell."""

    def reading_of(self, traces: Sequence[Any]) -> str:
        """One line on what the batches told; empty where there is nothing to say."""
        return ""


@dataclass(frozen=True, kw_only=True)
class GuidedSampling(SamplingMethod, ABC):
    """A method that is a guide in the sampler's walk, with the same state for any sampler."""

    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """By the walk of the batch's sampler."""
        return batch.walk(self)

    @abstractmethod
    def init(self, context: GuideContext) -> Any:
        """The state before the first step."""

    @abstractmethod
    def step(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The next state, and the noise prediction that the sampler shall use."""


def negatives_of(text: str) -> list[str]:
    """Negative prompts that one text names, apart by `|`, without blanks around them."""
    return [one for part in text.split("|") if (one := part.strip())]


def refuse_same(prompts: Sequence[str], negatives: Sequence[str], method: str) -> None:
    """Raises `BadInput` for a negative prompt that is a picture's own: there is nothing to lead away to."""
    for prompt in prompts:
        if prompt.strip() in negatives:
            raise BadInput(
                f"the negative prompt {prompt!r} is a prompt too, and {method} cannot lead to it and away from it; "
                "give another --negative"
            )
