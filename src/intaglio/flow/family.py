"""The contract of a decoder: a way to invert a flow, block by block."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.cost import BlockPasses
from intaglio.flow.decoding import Redraw, checked_inputs, decode
from intaglio.flow.results import BlockCallback, BlockReport, DecodedPictures, PassCallback
from intaglio.flow.tiers import TierName
from intaglio.models.capabilities import HasLikelihood, check_needs
from intaglio.models.flow.tarflow import TarFlow
from intaglio.runs.run import Run
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """A way to invert a flow block by block: settings, one call, and what it does with one block.

    A subclass gives `decode_block`; the loop over batches and blocks is the same for all.
    """

    name = FileName()
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """A baseline is what methods are compared with: exact, and measured once instead of once a tier."""
    needs: ClassVar[tuple[type, ...]] = (HasLikelihood,)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    planned: ClassVar[bool] = False
    """Whether it follows a plan that `calibrate` must have measured for the model, the machine and the batch."""

    batch: int = 64
    """Pictures decoded at once."""
    certify: bool = False
    """Prove each block's answer by one more pass, which gives the residual max |f(u) - v|."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")

    @abstractmethod
    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """The solution u of u = F(u), in the block's own order of patches, as v is.

        Args:
            inverse: the block under labels and guidance.
            v: its output; not written to.
            report: takes the method, changes, frontier and fallbacks; passes and times are filled in by the caller.
            watch: called after every pass.
        """
        ...

    def passes(self, model: TarFlow, block: int) -> tuple[BlockPasses, ...]:
        """The passes of a block, 0..K-1, for one batch, without proofs: exact ones, or the most that there can be.

        Empty where the decoder does not say; then there is no estimate of its energy.
        """
        return ()

    def prepared(self, model: TarFlow, pictures: int, guidance: Guidance, warn: Callable[[str], None]) -> "Decoder":
        """The decoder to use for a model and so many pictures: itself, unless it must look something up first."""
        return self

    def inputs(self, model: TarFlow, pictures: int, guidance: Guidance) -> Mapping[str, Mapping[str, Any]]:
        """Further inputs of a run that so many pictures depend on, by role: files with their `sha256`."""
        return {}

    def following(self, blocks: Sequence[BlockReport], left: int) -> "Decoder":
        """The decoder of the next batch, after the reports of one; itself, unless it learns from their times.

        It must follow from the reports alone: a killed run asks again with those that were stored.

        Args:
            blocks: reports of the batch that was just decoded.
            left: full batches still to decode.
        """
        return self

    @classmethod
    def candidates(cls, tier: TierName) -> "Sequence[Sequence[Decoder]]":
        """Settings to choose from for a tier of error, in rungs from loose to tight, each slower than the one before.

        A bench takes the fastest of the first rung that keeps to the tier on its model. One candidate alone is no
        choice: it is measured whatever its error.
        """
        return [[cls()]]

    @classmethod
    def published(cls) -> "Decoder | None":
        """The settings of the paper, whatever their error; None where there is no paper to compare with."""
        return None

    @classmethod
    def fit(cls, model: TarFlow, pictures: Float[Tensor, "n ch h w"]) -> Mapping[str, Any]:
        """Settings, by name, that are measured of a model offline, on pictures in [-1, 1]; empty for none."""
        return {}

    def __call__(
        self,
        model: TarFlow,
        noise: Tensor,
        *,
        labels: Tensor | None = None,
        guidance: Guidance = UNGUIDED,
        denoise: bool | None = None,
        names: Sequence[str] = (),
        redraw: Redraw | None = None,
        keep_hidden: bool = False,
        watch: PassCallback | None = None,
        run: Run = Run.none(),
    ) -> DecodedPictures:
        """Decode latents to pictures; model, noise and labels are left as they are.

        Args:
            model: a trained flow.
            noise: standard normal latents [n, T, C]; anything but floats of the model's type is converted.
            labels: classes [n] as whole numbers, -1 for a picture without one; None: none has one.
            guidance: the guidance of each block's log-scales and shifts.
            denoise: remove the noise that the model was trained with; None: if it was trained with any.
            names: file names of the pictures; none numbers them.
            redraw: `(index, attempt)` to fresh noise [T, C] for a picture that overflowed; None raises instead.
            keep_hidden: return every h_k too.
            watch: called after every pass, for previews.
            run: finished batches are kept there, so that a killed run goes on after the last.

        Raises:
            BadInput: a model that is no flow, or noise, labels or guidance that do not fit it.
            IntaglioError: a picture that overflows, with no `redraw`.
        """
        check_needs(self, model)
        inputs = checked_inputs(model, noise, labels, guidance, watch, run)
        return decode(self, inputs, denoise=denoise, names=names, redraw=redraw, keep_hidden=keep_hidden, run=run)
