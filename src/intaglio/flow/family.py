"""What every way of decoding a flow is called with and gives back."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.block.inverse import Inverse
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.flow.tarflow import TarFlow
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv, without_nan
from intaglio.verbs import FileName

Guess = Literal["output", "zeros"]
"""What an iteration starts from: the block's own output v, or zeros."""


@runtime_checkable
class Watching(Protocol):
    """Called after every pass; see `Decoder.__call__`."""

    def __call__(self, block: int, passes: int, u: Float[Tensor, "n t c"], final: int) -> None:
        """The pictures as they are after a pass of a block, of which the first `final` patches are final."""
        ...


Seen = Callable[[Float[Tensor, "n t c"], int], None]
"""Told after a pass of a block, in its own order of patches: all of them, and how many at the head are final."""


@dataclass
class BlockReport:
    """How one block was decoded, for one batch; several batches are summed."""

    block: int
    method: str
    passes: int = 0
    token_passes: int = 0
    """Patches that went through the block, over all pictures; a forward pass takes n T of them."""
    seconds: float = 0.0
    clamped: int = 0
    """Patches that had to be kept from overflowing before they were final."""
    changes: list[float] = field(default_factory=list)
    """The largest change of a patch in each pass, over all pictures."""
    frontier: list[int] = field(default_factory=list)
    """Patches that were final after each pass, where the method knows."""
    fallbacks: list[str] = field(default_factory=list)
    """What did not go as planned."""
    residual: float | None = None
    """The certificate max |f(u) - v| over pictures; None where none was asked for."""

    def add(self, other: "BlockReport") -> None:
        """Take in another batch's."""
        self.passes += other.passes
        self.token_passes += other.token_passes
        self.seconds += other.seconds
        self.clamped += other.clamped
        self.changes, self.frontier = other.changes, other.frontier
        self.fallbacks += [line for line in other.fallbacks if line not in self.fallbacks]
        if other.residual is not None:
            self.residual = max(other.residual, self.residual or 0.0)


@dataclass(frozen=True)
class DecodeReport:
    """How the pictures were decoded."""

    decoder: str
    pictures: int
    tokens: int
    """Patches a picture."""
    blocks: tuple[BlockReport, ...]
    """In the order of decoding."""
    redrawn: tuple[int, ...] = ()
    """Places of pictures whose noise was drawn again, as the first overflowed."""

    @property
    def seconds(self) -> float:
        """Of all blocks; without denoising."""
        return sum(block.seconds for block in self.blocks)

    @property
    def forwards(self) -> float:
        """Patches computed, in forward passes of the whole model: 1 is the least that a verified answer takes."""
        whole = max(1, self.pictures * self.tokens * len(self.blocks))
        return sum(block.token_passes for block in self.blocks) / whole

    @property
    def residual(self) -> float | None:
        """The worst block's certificate."""
        known = [block.residual for block in self.blocks if block.residual is not None]
        return max(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        whole = {"seconds": self.seconds, "forwards": self.forwards, "residual": self.residual}
        return {**asdict(self), **whole}

    def __str__(self) -> str:
        passes = ", ".join(f"{block.block}: {block.method} {block.passes}" for block in self.blocks)
        sure = "" if self.residual is None else f"; residual {self.residual:.1e}"
        return (
            f"{self.pictures} pictures by {self.decoder} in {self.seconds:.2f} s, {self.forwards:.1f} forward passes "
            f"(block: method passes; {passes}){sure}"
        )


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pictures of a flow."""

    pictures: ImageSet
    """In [0, 1], denoised where that was asked for."""
    patches: Float[Tensor, "n t c"]
    """The decoded patches in [-1, 1] and somewhat beyond, before denoising: what errors are measured on."""
    report: DecodeReport
    hidden: tuple[Float[Tensor, "n t c"], ...] = ()
    """h_0 to h_K, where they were asked for."""

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a block, in the order of decoding."""
        kept = ("block", "method", "passes", "token_passes", "seconds", "clamped", "residual")
        return [{key: asdict(block)[key] for key in kept} for block in self.report.blocks]

    def figures(self) -> dict[str, Any]:
        """Counts and times."""
        report = self.report
        return {
            "decoder": report.decoder,
            "pictures": report.pictures,
            "seconds": report.seconds,
            "forwards": report.forwards,
            "residual": report.residual,
            "redrawn": len(report.redrawn),
        }

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=COLUMNS)

    def save(self, folder: Path, texts: Sequence[dict[str, str]] = ()) -> None:
        """Writes `pictures/<name>`, `blocks.csv` and `decoding.json`, each atomically."""
        folder = Path(folder)
        for place, (name, pixels) in enumerate(zip(self.pictures.names, self.pictures.pixels, strict=True)):
            save_png(pixels, folder / "pictures" / name, texts[place] if texts else {})
        atomic_write(folder / "blocks.csv", rows_csv(self.rows(), COLUMNS))
        atomic_write(folder / "decoding.json", json.dumps(without_nan(self.report.to_dict()), indent=1) + "\n")


COLUMNS = ["block", "method", "passes", "token_passes", "seconds", "clamped", "residual"]


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """A way of inverting a flow block by block: its settings, one call, and what it does with one block.

    A subclass gives `decode_block`; the loop over batches and blocks is the same for all.
    """

    name = FileName()

    batch: int = 64
    """Pictures decoded at once."""
    certify: bool = False
    """Prove each block's answer by one more pass, which tells the residual max |f(u) - v|."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")

    @abstractmethod
    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """The u of u = F(u), in the block's own order, as v is.

        Args:
            inverse: the block under labels and guidance.
            v: its output; not written to.
            place: 0 for the first decoded block, K-1 for the last.
            report: takes the method, changes, frontier and fallbacks; passes and times are filled in by the caller.
            watch: told after every pass.
        """
        ...

    def prepared(self, model: TarFlow, pictures: int, guidance: Guidance, warn: Callable[[str], None]) -> "Decoder":
        """This decoder for a model and so many pictures: itself, unless it must look something up first."""
        return self

    def __call__(
        self,
        model: TarFlow,
        noise: Tensor,
        *,
        labels: Tensor | None = None,
        guidance: Guidance = UNGUIDED,
        denoise: bool | None = None,
        names: Sequence[str] = (),
        redraw: Callable[[int, int], Float[Tensor, "t c"]] | None = None,
        keep_hidden: bool = False,
        watch: Watching | None = None,
        run: Run = Run.none(),
    ) -> Decoded:
        """Decode latents to pictures; model, noise and labels are left as they are.

        Args:
            model: a trained flow.
            noise: standard normal latents [n, T, C]; anything but floats of the model's type is converted.
            labels: classes [n] as whole numbers, -1 for a picture without one; None: none has one.
            guidance: how each block is led.
            denoise: take out the noise that the model was trained with; None: if it was trained with any.
            names: of the pictures; none numbers them.
            redraw: `(place, attempt)` to fresh noise for a picture that overflowed; None raises instead.
            keep_hidden: give every h_k too.
            watch: called after every pass, for previews.
            run: finished batches are kept there, so that a killed run goes on after the last.

        Raises:
            BadInput: noise, labels or guidance that do not fit the model.
            IntaglioError: a picture that overflows, with no `redraw`.
        """
        from intaglio.flow.decoding import decode

        return decode(self, model, noise, labels, guidance, denoise, names, redraw, keep_hidden, watch, run)


class Passes:
    """Tells a watcher of passes, in the picture's own order of patches."""

    def __init__(self, watch: Watching | None, inverse: Inverse):
        self._watch, self._inverse = watch, inverse

    def __call__(self, u: Float[Tensor, "n t c"], final: int) -> None:
        """After a pass: all patches as they are, of which the first `final` are final."""
        if self._watch is not None:
            block = self._inverse.block
            self._watch(block.index, self._inverse.effort.passes, block.permuted(u), final)


def by_index(named: tuple[int, ...], blocks: int) -> list[int]:
    """Block indices 0..K-1 of indices that may count from the end. Raises `BadInput` for a block that there is not."""
    if wrong := [index for index in named if not -blocks <= index < blocks]:
        raise BadInput(f"there is no block {wrong[0]}: the model has {blocks}, 0 to {blocks - 1}, or -1 for the last")
    return [index % blocks for index in named]
