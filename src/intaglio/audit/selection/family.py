"""Selection: the contract of a method that chooses training pictures, and the checks made before any work."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.example_method import ExampleMethod
from intaglio.audit.selection.pool_size import check_size
from intaglio.audit.selection.result import Selection
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


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
class Selector(ExampleMethod):
    """Choice of training pictures from a pool, so that a model trained on them becomes good at given pictures.

    A method is a frozen dataclass of settings. It scores every candidate, and chooses some with a weight each. A model
    is left as it was found.
    """

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


def check_pool(method: Selector, model: LatentDiffusion, candidates: Examples, target: Examples) -> None:
    """Raises `BadInput` for pictures that nothing can be chosen from or for, and for a model that cannot be asked."""
    method.check(model)
    check_size(method.size, len(candidates))
    if not len(target):
        raise BadInput("there are no pictures to choose for; give a folder with at least one to --target")
    mine, its = candidates.latents.shape[1:], target.latents.shape[1:]
    if mine != its or mine[0] != model.latent_channels:
        raise BadInput(
            f"candidates have latents of {tuple(mine)}, targets of {tuple(its)}, and {model.name} takes "
            f"{model.latent_channels} channels; read both at one resolution, with the model that is asked"
        )
