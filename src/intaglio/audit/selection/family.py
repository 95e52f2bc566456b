"""Selection: the contract of a method that chooses training pictures, and the checks made before any work."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.family import Asked
from intaglio.audit.selection.pool_size import check_size
from intaglio.audit.selection.result import Selection
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.verbs import FileName


class ChosenCandidates(NamedTuple):
    """The scores of all candidates, and those that a method chooses."""

    scores: Float[Tensor, "n"]
    """Of every candidate, the higher the better for the targets."""
    places: list[int]
    """Of the chosen candidates."""
    weights: list[float]
    """Of the chosen ones, adding up to 1."""
    curve: Sequence[tuple[int, float]] = ()
    """(candidates, distance of their distribution from the targets) as candidates were added; empty for none."""


@dataclass(frozen=True, kw_only=True)
class Selector(ABC):
    """Choice of training pictures from a pool, so that a model trained on them becomes good at given pictures.

    A method is a frozen dataclass of settings. It scores every candidate, and chooses some with a weight each. A model
    is left as it was found.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """What the score of a candidate says, as the end of a sentence for people who know no formula."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    size: int | None = None
    """Candidates to choose, from 1; none where the method finds how many."""

    def __call__(
        self, model: LatentDiffusion, candidates: Examples, target: Examples, *, run: Run = Run.none()
    ) -> Selection:
        """The candidates that are chosen for the targets.

        Args:
            model: from which training is to begin.
            candidates: n pictures with the prompts that they would be trained with, two or more.
            target: m pictures of the same size with their prompts, one or more, that the model is to be good at.
            run: progress and states go there; a killed call goes on after the last picture that was stored.

        Raises:
            BadInput: for too few pictures, for sizes that differ or that are not the model's, for more to choose than
                there are, and for a model that lacks what the method needs.
            IntaglioError: for scores that are not finite, and where no candidate helps.
        """
        check_pool(self, model, candidates, target)
        found = self.chosen(model, candidates, target, run)
        scores = found.scores.double().cpu()
        if not bool(scores.isfinite().all()):
            raise IntaglioError(f"scores are not finite with {model.name}; check the model, and its precision")
        if not found.places:
            raise IntaglioError("no candidate helps with any target; give other candidates, or a --size")
        worth = [
            (-weight, -float(scores[place]), place) for weight, place in zip(found.weights, found.places, strict=True)
        ]
        order = sorted(range(len(worth)), key=worth.__getitem__)
        places = tuple(found.places[k] for k in order)
        weights = tuple(found.weights[k] for k in order)
        of_pool = (candidates.names, candidates.prompts, candidates.hashes)
        of_target = (target.names, target.prompts, target.hashes)
        return Selection(self.name, self.reading, *of_pool, *of_target, scores, places, weights, tuple(found.curve))

    @abstractmethod
    def chosen(self, model: LatentDiffusion, candidates: Examples, target: Examples, run: Run) -> ChosenCandidates:
        """The method itself, of inputs that are checked."""

    def check(self, model: LatentDiffusion) -> None:  # noqa: B027 - a method without demands of its own checks nothing
        """Raises `BadInput` for a model that this method, with its settings, cannot ask."""

    def calls(self) -> Calls:
        """Rows through a denoiser that one picture takes; none where none are."""
        return Calls()

    def training_calls(self) -> Calls:
        """Rows that one candidate takes beside them; none where none are."""
        return Calls()

    @property
    def rows(self) -> int:
        """Rows that go through a network together."""
        return 1

    def forget(  # noqa: B027 - a method that stores no states drops none
        self, model: LatentDiffusion, train: Iterable[Asked], queries: Iterable[Asked], run: Run
    ) -> None:
        """Drops the states that a call on these candidates and targets stored; once its result is safe."""


def check_selector(method: Selector, model: LatentDiffusion) -> None:
    """Raises `BadInput` for a model that lacks what the method needs."""
    check_needs(method, model)
    method.check(model)


def check_pool(method: Selector, model: LatentDiffusion, candidates: Examples, target: Examples) -> None:
    """Raises `BadInput` for pictures that nothing can be chosen from or for, and for a model that cannot be asked."""
    check_selector(method, model)
    check_size(method.size, len(candidates))
    if not len(target):
        raise BadInput("there are no pictures to choose for; give a folder with at least one to --target")
    mine, its = candidates.latents.shape[1:], target.latents.shape[1:]
    if mine != its or mine[0] != model.latent_channels:
        raise BadInput(
            f"candidates have latents of {tuple(mine)}, targets of {tuple(its)}, and {model.name} takes "
            f"{model.latent_channels} channels; read both at one resolution, with the model that is asked"
        )
