"""A method that asks a model about its training pictures and about others: needs, cost and stored states."""

from abc import ABC
from collections.abc import Iterable
from typing import ClassVar, Literal

from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.verbs import FileName

Asked = tuple[str, str]
"""Hash and prompt of a picture, on which its part depends beside the model and the settings."""


class ExampleMethod(ABC):
    """A method about training pictures, or candidates for them, and pictures that a model is to be good at."""

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """What the number of a training picture says, as the end of a sentence for people who know no formula."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model that this method, with its settings, cannot ask; called before any work."""
        check_needs(self, model)

    def calls(self) -> Calls:
        """Rows through a denoiser that one picture takes; none where none are."""
        return Calls()

    def training_calls(self) -> Calls:
        """Rows through a denoiser that one training picture takes beside them; none where none are."""
        return Calls()

    @property
    def rows(self) -> int:
        """Noised latents that go through a network together."""
        return 1

    def forget(  # noqa: B027 - a method that stores no states drops none
        self, model: LatentDiffusion, train: Iterable[Asked], queries: Iterable[Asked], run: Run
    ) -> None:
        """Drops the states that a call on these pictures stored; to be called once its result is safe."""
