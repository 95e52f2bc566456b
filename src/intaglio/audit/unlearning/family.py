"""Unlearning: the contract of a method, which makes a model without a concept."""

import copy
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch

from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.result import Unlearned, UnlearningRecord
from intaglio.errors import BadInput
from intaglio.models.capabilities import Encodes, HasUNet, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.verbs import FileName

PictureSet = Literal["concept", "keep", "anchor"]
"""Pictures that a method learns from: of the concept, of what is to stay, of what takes the concept's place."""


@dataclass(frozen=True, kw_only=True)
class Unlearner(ABC):
    """Settings of an unlearning, and the model that it makes. Only the U-Net differs from the model that was given.

    A method is a frozen dataclass of settings. The model that is given is left as it was found.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """How the concept is unlearned, as the end of a sentence for people who know no formula."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights, HasUNet)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    forgets: ClassVar[Literal["concept", "pictures"]] = "concept"
    """What is unlearned: a concept, by its prompts; or given pictures, whatever their prompts."""
    learns_from: ClassVar[tuple[PictureSet, ...]] = ()
    """Pictures that it learns from."""
    states: ClassVar[tuple[str, ...]] = ()
    """Names of the states of a run, which are of no use once the result is stored."""

    def check_concept(self, concept: Concept, *, forget: bool, retain: bool) -> None:
        """Raises `BadInput` for a concept that it cannot unlearn; needs no model.

        `forget` and `retain` say whether pictures are given of the concept, and of what is to stay.
        """
        if self.forgets == "pictures":
            concept.check_beside_pictures(self.name, forget=forget, retain=retain)
            return
        concept.check()
        for flag, what, given in (("--forget", "concept", forget), ("--retain", "keep", retain)):
            if given and what not in self.learns_from:
                raise BadInput(f"{self.name} learns from no pictures of --{what}; leave {flag} out")
        if "keep" in self.learns_from and not (concept.keep or retain):
            raise BadInput(
                f"{self.name} learns from pictures of what is to stay; give --keep prompts of them, or --retain a "
                "folder of them"
            )

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model that it cannot change; called before any work."""
        check_needs(self, model)
        if model.dtype != torch.float32:
            precision = str(model.dtype).removeprefix("torch.")
            raise BadInput(f"{model.name} is loaded in {precision}, in which small changes vanish; load it in float32")
        if model.sampling != FREE:
            raise BadInput(
                f"{model.name} was distilled for its own sampling, which unlearning would lose; give its teacher"
            )

    @abstractmethod
    def planned(self, concept: Concept, *, forget: int, retain: int) -> Calls:
        """Rows through the denoiser of all the work; `forget` and `retain` are the numbers of pictures given, or 0."""

    @property
    def rows(self) -> int:
        """Rows that go through a network together."""
        return 1

    @abstractmethod
    def __call__(
        self,
        model: LatentDiffusion,
        concept: Concept,
        *,
        forget: CaptionedLatents | None = None,
        retain: CaptionedLatents | None = None,
        run: Run = Run.none(),
    ) -> Unlearned:
        """The model without the concept; a run that was killed goes on and gives the same bits.

        Args:
            model: in float32.
            concept: to unlearn; of no prompts for a method that forgets pictures.
            forget: pictures of the concept, for a method that learns from them; None: the model draws its own. For a
                method that forgets pictures these, which it needs.
            retain: pictures of what is to stay, likewise.
            run: keeps what is done.

        Raises:
            BadInput: for a model or a concept that does not fit.
            IntaglioError: for a loss or a weight that is not finite.
        """

    def begun(
        self, model: LatentDiffusion, concept: Concept, forget: CaptionedLatents | None, retain: CaptionedLatents | None
    ) -> LatentDiffusion:
        """A model with a denoiser of its own to change, after all checks, whose errors are raised."""
        self.check_concept(concept, forget=forget is not None, retain=retain is not None)
        self.check(model)
        denoiser = copy.deepcopy(model.denoiser).requires_grad_(False)
        return model.made_for(model.sampling, denoiser, f"{model.name} by {self.name}")

    def found(
        self,
        model: LatentDiffusion,
        changed: LatentDiffusion,
        concept: Concept,
        facts: dict[str, Any],
        *,
        forgotten: int = 0,
    ) -> Unlearned:
        """The result; `facts` are plain figures of the method's own, `forgotten` the number of pictures forgotten."""
        settings = {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}
        about = (self.name, self.reading, settings, model.name, model.fingerprint, changed.fingerprint, concept, facts)
        return Unlearned(changed, UnlearningRecord(*about, forgotten=forgotten))
