"""Influence: the contract of a method, and the checks made before any work."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.example_method import ExampleMethod
from intaglio.audit.influence.result import InfluenceScores
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


@dataclass(frozen=True)
class Influence(ExampleMethod):
    """Influence of training pictures: which of them made a model good at a given picture.

    A method is a frozen dataclass of settings. It gives tau [q, n], for each query the predicted change of its
    denoising loss when a training picture is removed from the set: positive for a proponent, without which the model
    would be worse at the query, negative for an opponent. A model is left as it was found.
    """

    unit: ClassVar[str]
    """Unit of the numbers, in words; one method's do not compare with another's."""

    def __call__(
        self, model: LatentDiffusion, train: Examples, queries: Examples, *, run: Run = Run.none()
    ) -> InfluenceScores:
        """The influence of every training picture on every query.

        Args:
            model: trained on `train`, or fine-tuned on it.
            train: n pictures with the prompts that they were trained with, one or more.
            queries: q pictures of the same size with their prompts, one or more; they may be training pictures too.
            run: progress and states go there; a killed call goes on after the last picture that was stored.

        Raises:
            BadInput: for no pictures, for sizes that differ or that are not the model's, and for a model that lacks
                what the method needs.
            IntaglioError: for numbers that are not finite.
        """
        check_examples(self, model, train, queries)
        tau = self.scores(model, train, queries, run).double().cpu()
        if bad := [name for name, row in zip(queries.names, tau, strict=True) if not bool(row.isfinite().all())]:
            raise IntaglioError(
                f"the influences on {bad[0]} are not finite with {model.name}; check the model, and its precision"
            )
        of_train = (train.names, train.prompts, train.hashes)
        of_queries = (queries.names, queries.prompts, queries.hashes)
        return InfluenceScores(self.name, self.reading, self.unit, *of_train, *of_queries, tau)

    @abstractmethod
    def scores(self, model: LatentDiffusion, train: Examples, queries: Examples, run: Run) -> Float[Tensor, "q n"]:
        """The method itself: tau of inputs that are checked."""


def check_examples(method: Influence, model: LatentDiffusion, train: Examples, queries: Examples) -> None:
    """Raises `BadInput` for pictures that cannot be asked about, and for a model that cannot be asked."""
    method.check(model)
    for examples, what, flag in ((train, "training pictures", "--train"), (queries, "pictures", "--images")):
        if not len(examples):
            raise BadInput(f"there are no {what} to ask about; give a folder with at least one to {flag}")
        if examples.latents.shape[1] != model.latent_channels:
            raise BadInput(
                f"the {what} have latents of {examples.latents.shape[1]} channels and {model.name} takes "
                f"{model.latent_channels}; encode them with the model that is asked"
            )
    if (mine := train.latents.shape[2:]) != (its := queries.latents.shape[2:]):
        raise BadInput(
            f"training pictures have {tuple(mine)} latent cells and the pictures asked about {tuple(its)}; read both "
            "at one resolution"
        )
