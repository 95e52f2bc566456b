"""Merging: the contract of a method, which makes one model of several that come from one base."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.errors import BadInput
from intaglio.models.capabilities import HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.merged import Merged
from intaglio.shrink.merging.one_base import check_one_base
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class Merger(ABC):
    """Settings of a merge, and the model that it makes of several. These are left as they were found."""

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline` for what others are measured against."""
    needs: ClassVar[tuple[type, ...]] = (ReadsPrompts, PredictsNoise, HasWeights)
    """What every model must be able to do (`intaglio.models.capabilities`)."""
    needs_base: ClassVar[bool] = False
    """Whether it merges updates, a model less its base."""
    least: ClassVar[int] = 2
    """Fewest models, beside the base."""
    most: ClassVar[int | None] = None
    """Most models; None: any number."""

    @property
    def sums(self) -> int:
        """About how many sums of all weights take as long as it does, with checks and storing, for its plan."""
        return 15

    @property
    def needs_pictures(self) -> bool:
        """Whether it chooses by the denoising loss of pictures that are held out."""
        return False

    def check(self, models: Sequence[LatentDiffusion], base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` for models that it cannot merge, naming what keeps them apart; called before any work."""
        self.check_count(len(models))
        if self.needs_base and base is None:
            raise BadInput(f"{self.name} merges what models learned since their base; give the base too")
        check_needs(self, *models, *(() if base is None else (base,)))
        check_one_base(models, base)
        for model in models:
            if self.needs_base and base is not None and model.same_weights(base):
                raise BadInput(f"{model.name} has the same weights as the base, {base.name}; leave it out")

    def checked_base(self, models: Sequence[LatentDiffusion], base: LatentDiffusion | None) -> LatentDiffusion:
        """The base, for a method that needs it, after all checks, whose errors are raised."""
        self.check(models, base)
        if base is None:
            raise BadInput(f"{self.name} needs a base")
        return base

    def check_count(self, count: int) -> None:
        """Raises `BadInput` for too few models or too many, or as many as its settings do not fit."""
        beside = " beside the base" if self.needs_base else ""
        if count < self.least:
            raise BadInput(f"{self.name} merges {self.least} models or more{beside}, not {count}; give more")
        if self.most is not None and count > self.most:
            raise BadInput(f"{self.name} merges {self.most} models{beside}, not {count}; give fewer, or choose soup")

    @abstractmethod
    def __call__(
        self,
        models: Sequence[LatentDiffusion],
        base: LatentDiffusion | None = None,
        *,
        judged: PictureSamples | None = None,
        run: Run = Run.none(),
    ) -> Merged:
        """The merged model; a run that was killed goes on and gives the same bits.

        Args:
            models: fine-tunes of one base, in the order of their weights.
            base: the model they were tuned from; not needed by a method that merges weights themselves.
            judged: samples of held-out pictures, for a method that chooses by them.
            run: keeps what is merged already.

        Raises:
            BadInput: for models that cannot be merged.
            IntaglioError: for a merged weight that is not finite.
        """
