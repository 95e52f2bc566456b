"""Extraction: the contract of a method, which is a guide for the sampler; the rest of the work is shared."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.denoising.model_pair import check_pair
from intaglio.errors import BadInput
from intaglio.extract.extracted import Extraction
from intaglio.extract.extraction import extract
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.settings import GenerationSettings
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.guide import Guide
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class Extractor(GenerationSettings, ABC):
    """A way of drawing the pictures that a suspect was tuned on: settings, and the guide that leads the sampler.

    What reports and benches must know of a method stands in its class variables.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """How the pictures were drawn, as the end of a sentence that begins "60 pictures"."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    needs_prompt: ClassVar[bool] = False
    """Whether it can do nothing where nobody knows a prompt."""

    @abstractmethod
    def guide(self, base: LatentDiffusion, *, prompted: bool) -> Guide:
        """The guide; without `prompted` nobody knows a prompt, and the pictures' is empty."""

    def __call__(
        self,
        suspect: LatentDiffusion,
        base: LatentDiffusion,
        *,
        prompts: Sequence[str] = (),
        similarity: Embedding,
        run: Run = Run.none(),
        workers: int = 1,
    ) -> Extraction:
        """Draw, group and rank; both models are left as they were found.

        Args:
            suspect: the fine-tuned model.
            base: the model that it was fine-tuned from.
            prompts: what the fine-tune is thought to have used, each for an equal share; none where nobody knows.
            similarity: an encoder's; its descriptors are what is compared.
            run: progress, states and pictures go there.
            workers: processes on the CPU; the result does not depend on their number.

        Raises:
            BadInput: models that cannot be compared, are identical or lack what the method needs, or no prompt for a
                method that needs one.
            IntaglioError: where fewer pictures than are sought could be compared.
        """
        check_needs(self, suspect, base)
        if self.needs_prompt and not any(prompts):
            raise BadInput(
                f"{self.name} leads towards a prompt and there is none; give --prompt, or use a method that needs none"
            )
        check_pair(suspect, base)
        inputs = ExtractionInputs(suspect, base, prompts, similarity)
        return extract(self.name, self, self.guide, inputs, run, workers)
