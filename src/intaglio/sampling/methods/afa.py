"""AFA: pictures by several models of one layout, whose features are merged after every block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.capabilities import HasUNet
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.unet_lockstep import UNetLockstep
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.part_sampling import PartSampling
from intaglio.sampling.several_networks import Loaded, SeveralNetworks, routers_of


class Merging(NamedTuple):
    """Classifier-free guidance with its own state, the models in lock-step, and the batch."""

    inner: ClassifierFree
    kept: Conditioning
    lockstep: UNetLockstep
    context: GuideContext


@dataclass(frozen=True, kw_only=True)
class Afa(SeveralNetworks, PartSampling, GuidedSampling):
    """AFA: fine-tunes of one base, whose features are merged by learnt weights after each block.

    The model and the `others` run in lock-step, by the routers that `intaglio sample train afa` taught: all go on from
    the sum of their features by weights of each pixel, which depend on the features, the timestep and the text. What
    comes out is one prediction, which takes the place of the model's own under classifier-free guidance. It costs a
    call of each of the N models.

    Source: arXiv 2405.17082.
    """

    needs: ClassVar[tuple[type, ...]] = (*GuidedSampling.needs, HasUNet)
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()  # the bench has no part to give

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without routers of this model, and for others than those that they were trained with."""
        super().check(request)
        self._trained_networks(request.model)

    def planned(self, request: SamplingRequest) -> Calls:
        """Those of the sampler's walk, by each of the models."""
        return Calls(forward=request.nodes * (1 if request.scale == 1 else 2) * (1 + len(self.others)))

    def init(self, context: GuideContext) -> Merging:
        """The state, which never changes."""
        inner, networks = ClassifierFree(context.scale), self._trained_networks(context.model)
        part = self.trained(context.model)
        routers = routers_of(networks, part.settings["width"], part.settings["seed"])
        routers.load_state_dict(dict(part.tensors))
        lockstep = UNetLockstep([one.denoiser for one in networks], routers.requires_grad_(False))
        return Merging(inner, inner.init(context), lockstep, context)

    def step(
        self, state: Merging, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Merging, Float[Tensor, "n *shape"]]:
        """The guided noise of all models."""
        calls, others = state.context.calls, len(state.lockstep.networks) - 1

        def counted(latents: Tensor, t: Tensor, given: Conditioning) -> Tensor:
            calls.forward += others * len(latents)  # `predict` counts the first
            return predict(latents, t, given)

        with state.lockstep.leading():
            _, noise = state.inner.step(state.kept, latents, t, counted)
        return state, noise

    def _trained_networks(self, model: LatentDiffusion) -> Loaded:
        """The models. Raises `BadInput` for others than the routers were trained with, or in another order."""
        part, networks = self.trained(model), self.networks(model)
        if [one.fingerprint for one in networks] != part.settings["networks"]:
            names = " ".join(part.settings["others"])
            raise BadInput(
                f"--others are not those that {self.part} was trained with, in the same order; give those ({names})"
            )
        return networks
