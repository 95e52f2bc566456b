"""Results of decoding: a report for each block and for the whole, the pictures, and callbacks for those on the way."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.images.notebook import result_html
from intaglio.runs.tables import rows_csv, without_nan

COLUMNS = ["block", "method", "passes", "token_passes", "seconds", "clamped", "residual"]
"""The fields of a `BlockReport` that are one number or word: the columns of a table of blocks."""

BlockCallback = Callable[[Float[Tensor, "n t c"], int], None]
"""Called by a decoder after every pass of one block, as `(u, final)`: the current iterate in the block's own order of
patches, and the number of patches at its head that are final."""


@runtime_checkable
class PassCallback(Protocol):
    """Called after every pass of every block; see `Decoder.__call__`."""

    def __call__(self, block: int, passes: int, u: Float[Tensor, "n t c"], final: int) -> None:
        """After pass `passes` of block `block`: the current iterate, patches in raster order.

        `final` counts the patches that are final, in the block's own order.
        """
        ...


@dataclass
class BlockReport:
    """Work and accuracy of one block's decoding, for one batch or summed over several."""

    block: int
    """Index of the block, 0..K-1."""
    method: str
    """Name of the method that decoded the block."""
    passes: int = 0
    """Forward passes of the block, over a window of patches or over all."""
    token_passes: int = 0
    """Patches that went through the block, over all pictures; a forward pass takes n T of them."""
    seconds: float = 0.0
    """Wall time."""
    clamped: int = 0
    """Patches that were clamped against overflow before they were final, counted once a pass."""
    changes: list[float] = field(default_factory=list)
    """Largest change of a number in each sweep, over all pictures; of the last batch."""
    frontier: list[int] = field(default_factory=list)
    """Index of the last final patch after each pass, where the method knows it; of the last batch."""
    fallbacks: list[str] = field(default_factory=list)
    """Sentences about what did not go as planned."""
    residual: float | None = None
    """The certificate max |f(u) - v| over pictures; None where none was asked for."""

    def add(self, other: "BlockReport") -> None:
        """Add the report of another batch to this one."""
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
    """Work and accuracy of a whole decoding."""

    decoder: str
    """Name of the decoder."""
    pictures: int
    tokens: int
    """Patches a picture (T)."""
    blocks: tuple[BlockReport, ...]
    """One a block, in the order of decoding: the last block of the model first."""
    redrawn: tuple[int, ...] = ()
    """Indices of pictures whose noise was drawn again, as the first overflowed."""

    @property
    def seconds(self) -> float:
        """Wall time of all blocks, without denoising."""
        return sum(block.seconds for block in self.blocks)

    @property
    def forwards(self) -> float:
        """Patches computed, in forward passes of the whole model: 1 is the least that a verified answer takes."""
        whole = max(1, self.pictures * self.tokens * len(self.blocks))
        return sum(block.token_passes for block in self.blocks) / whole

    @property
    def residual(self) -> float | None:
        """The largest certificate of a block; None where none was asked for."""
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
class DecodedPictures:
    """Decoded pictures, with the patches that they were made of and a report."""

    pictures: ImageSet
    """In [0, 1], denoised where that was asked for."""
    patches: Float[Tensor, "n t c"]
    """Decoded patches before denoising, nominally in [-1, 1]: what errors are measured on."""
    report: DecodeReport
    hidden: tuple[Float[Tensor, "n t c"], ...] = ()
    """Inputs of all blocks and the latents, h_0 to h_K, where they were asked for."""

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a block, in the order of decoding; the keys are `COLUMNS`."""
        return [{key: getattr(block, key) for key in COLUMNS} for block in self.report.blocks]

    def figures(self) -> dict[str, Any]:
        """Counts, and times in seconds."""
        report = self.report
        return {
            "decoder": report.decoder,
            "pictures": report.pictures,
            "seconds": report.seconds,
            "forwards": report.forwards,
            "residual": report.residual,
            "redrawn": len(report.redrawn),
        }

    def _repr_html_(self) -> str:
        """Counts, blocks and pictures, for notebooks."""
        pairs = list(zip(self.pictures.names, self.pictures.pixels, strict=True))
        return result_html(f"Pictures decoded by {self.report.decoder}", self.figures(), self.rows(), pairs)

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=COLUMNS)

    def save(self, folder: Path, texts: Sequence[dict[str, str]] = ()) -> None:
        """Write `pictures/<name>`, `blocks.csv` and `decoding.json`, each atomically.

        `texts` are text chunks for the PNG files, one mapping a picture.
        """
        folder = Path(folder)
        for index, (name, pixels) in enumerate(zip(self.pictures.names, self.pictures.pixels, strict=True)):
            save_png(pixels, folder / "pictures" / name, texts[index] if texts else {})
        atomic_write(folder / "blocks.csv", rows_csv(self.rows(), COLUMNS))
        atomic_write(folder / "decoding.json", json.dumps(without_nan(self.report.to_dict()), indent=1) + "\n")
