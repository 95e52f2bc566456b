"""Attribution of pictures to sources: the contract of a method, and its fit to pictures of known sources."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.attribution.fitted_sources import FittedSources, plain_settings
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.source_models import Models, check_models, fingerprints
from intaglio.audit.attribution.source_p_values import HeldOut
from intaglio.errors import IntaglioError, require
from intaglio.images.image_set import ImageSet
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.tensors import tensor_hash
from intaglio.verbs import FileName

Learnt = Mapping[str, Tensor]
"""Tensors that a method learnt, by name."""
NO_MODELS: Models = {}


class JudgedPictures(NamedTuple):
    """Numbers that a method gives pictures, K sources."""

    log_posterior: Float[Tensor, "n K"]
    """Natural logarithm of the probability of each source, given that it is one of them, all alike beforehand."""
    knownness: Float[Tensor, "n"]
    """Likeness of a picture to those of the sources at all, higher for more."""


@dataclass(frozen=True, kw_only=True)
class SourceAttributor(ABC):
    """Attribution of pictures to sources, such as models or artists, by traces that each source leaves in its pictures.

    A method is a frozen dataclass of settings. It is fitted to pictures of known sources, of which a part is held out
    to calibrate it; then it says of any picture how probable each source is, and how much it is like any of them.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    needs_models: ClassVar[bool] = False
    """Whether the sources' models are asked, beside their pictures."""
    needs: ClassVar[tuple[type, ...]] = ()
    """What each of these models must be able to do, as protocols of `intaglio.models.capabilities`."""
    reading: ClassVar[str]
    """The trace that the method looks at, as the end of a sentence for people who know no formula."""

    held_out: float = 0.3
    """Share of each source's pictures that is held out to calibrate the p-values, in (0, 1)."""
    batch: int = 32
    """Pictures judged at once, 1 or more."""
    seed: int = 0
    """Seed of what is held out, and of what is drawn in a training. From 0."""

    def __post_init__(self) -> None:
        require(0 < self.held_out < 1, f"held_out must lie between 0 and 1, not {self.held_out}")
        require(self.batch >= 1, f"batch must be 1 or more, not {self.batch}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    def fit(
        self, sources: Mapping[str, ImageSet], *, models: Models = NO_MODELS, run: Run = Run.none()
    ) -> FittedSources:
        """The fit: tensors learnt of the sources, with the held-out pictures' numbers.

        Args:
            sources: pictures by source, two sources or more, all of one size in pixels.
            models: of the sources, by their names, for a method that asks them; some may have none.
            run: progress, records and states go there; a killed call goes on after what was stored.

        Raises:
            BadInput: for less than two sources, for few pictures, or for such that the method cannot take; for
                different sizes; for one picture in two places; for models of no source, and for those that the method
                lacks or does not ask.
        """
        given = PictureSources.of(sources)
        check_models(self, given.names, models)
        self.check(given)
        taught, held = given.divided(self.held_out, self.seed)
        learnt = {name: tensor.detach().cpu() for name, tensor in self.learn(taught, models, run).items()}
        judged = self.judged(learnt, len(given.names), held.images, models, run, "held out")
        height, width = given.images.pixels.shape[2:]
        return FittedSources(
            method=self.name,
            settings=plain_settings(asdict(self)),
            sources=given.names,
            size=(height, width),
            taught=taught.images.hashes,
            held=held.images.hashes,
            held_numbers=HeldOut(judged.log_posterior, judged.knownness, held.labels),
            tensors=learnt,
            models=fingerprints(models),
        )

    def check(self, sources: PictureSources) -> None:  # noqa: B027 - a method without demands checks nothing
        """Raises `BadInput` for pictures that this method, with its settings, cannot be fitted to."""

    @abstractmethod
    def learn(self, sources: PictureSources, models: Models, run: Run) -> Learnt:
        """Tensors that the method learns from pictures, and from models where it asks them; states go to the run."""

    def updates(self, pictures: int) -> int:
        """Updates of a training on so many pictures; 0 where no network is trained."""
        return 0

    def update(self, sources: int, side: int) -> Callable[[], object] | None:
        """A call that takes as long as one update, for plans; None where no network is trained.

        Args:
            sources: how many there are.
            side: of the pictures, pixels.
        """
        return None

    def look(self, models: Models, side: int) -> Callable[[], object] | None:
        """A call that takes as long as one picture, for plans; None where that is next to nothing.

        Args:
            models: of sources, as given.
            side: of the pictures, pixels.
        """
        return None

    @abstractmethod
    def judge(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> JudgedPictures:
        """Log posteriors and knownness of pictures in [0, 1]; each picture's alone, whatever lies beside it."""

    @abstractmethod
    def features(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> Float[Tensor, "n f"]:
        """Features of pictures in [0, 1], whose cosine is higher for two pictures of one source."""

    def forget(self, run: Run) -> None:  # noqa: B027 - a method that keeps no state has none to drop
        """Drops the states of a training, once its result is safe."""

    def judged(
        self, learnt: Learnt, sources: int, images: ImageSet, models: Models, run: Run, what: str
    ) -> JudgedPictures:
        """`judge` in batches, recorded picture by picture.

        Args:
            learnt: of this method.
            sources: how many there are.
            images: of the size that the method learnt from.
            models: those that it learnt from, or none.
            run: where records go.
            what: the pictures are, in the records' kind and the progress.

        Raises `IntaglioError` for numbers that are not finite.
        """

        def numbers(part: ImageSet) -> dict[str, Tensor]:
            with torch.no_grad():
                found = self.judge(learnt, part.pixels, models)
            return {f"source {k}": found.log_posterior[:, k] for k in range(sources)} | {"knownness": found.knownness}

        own = [fingerprints(models)] if models else []
        key = digest([self.name, asdict(self), {name: tensor_hash(one) for name, one in learnt.items()}, *own])
        found = in_batches(run, f"{self.name} {what}", key, images, numbers, batch=self.batch)
        posterior = torch.stack([found[f"source {k}"] for k in range(sources)], 1)
        judged = JudgedPictures(posterior.double(), found["knownness"].double())
        for i, name in enumerate(images.names):
            if not bool(judged.log_posterior[i].isfinite().all() & judged.knownness[i].isfinite()):
                raise IntaglioError(f"the numbers of {name} are not finite; fit the sources again, or leave it out")
        return judged
