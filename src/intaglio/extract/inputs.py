"""The inputs of an extraction: two models, the prompts, and the encoder that pictures are compared by."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from intaglio.extract.settings import GenerationSettings
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


@dataclass(frozen=True, eq=False)
class ExtractionInputs:
    """The models and prompts that pictures are drawn from, and the encoder they are compared by."""

    suspect: LatentDiffusion
    """The model that is drawn from."""
    base: LatentDiffusion
    """The model that it was fine-tuned from."""
    prompts: Sequence[str]
    """Each serves an equal share of the pictures; none where nobody knows one."""
    similarity: Embedding
    """An encoder, whose descriptors are compared."""

    @property
    def prompted(self) -> bool:
        """Whether a prompt is known."""
        return bool(self.prompts)

    def of_base(self) -> "ExtractionInputs":
        """The same with the base in the suspect's place: a search in which nothing was learned."""
        return replace(self, suspect=self.base)

    def key(self, name: str, settings: GenerationSettings) -> str:
        """sha256 over all that drawn pictures and their descriptors depend on; `name` is the method's."""
        parts = (
            name,
            repr(sorted(asdict(settings).items())),
            self.suspect.fingerprint,
            self.base.fingerprint,
            self.suspect.part_fingerprint("autoencoder"),
            repr(list(self.prompts)),
            self.similarity.hash,
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
