"""`intaglio flow bpd`: likelihood of pictures under a flow, in bits a dimension."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intaglio.commands.flow.inputs import FlowModel
from intaglio.commands.kit.cluster_inputs import OnCluster
from intaglio.commands.kit.console import note, say, say_json, shown
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.flow.training.data import FlowPictures
    from intaglio.models.flow.tarflow_files import LoadedFlow

MOST = 1_000_000
"""Most draws of a picture, and most pictures in memory at once."""


@dataclass(frozen=True, kw_only=True)
class FlowBpd(OnCluster, FlowModel):
    """Weigh pictures: bits a dimension under a flow, and their standard error over pictures."""

    images: Path
    """Folder of pictures, or with --classes of a folder of pictures for each of the model's classes."""
    classes: bool = False
    """Each subfolder is a class, with a name that the model has for it."""
    draws: int = 1
    """Draws of noise for each picture."""
    batch: int = 64
    """Pictures in memory at once."""
    seed: int = 0
    """Seed of the noise."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read, in place of stopping."""
    out: Path | None = None
    """Write every picture's bits there, as CSV."""
    json: bool = False
    """End with one line of JSON."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("draws", "batch"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} must be at least 1 and at most {MOST}, not {getattr(self, name)}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.files import atomic_write
        from intaglio.flow.likelihood import likelihood
        from intaglio.runs.run import Run
        from intaglio.runs.tables import rows_csv

        flow = self.loaded()
        data = self._pictures(flow)
        about = {"draws": self.draws, "batch": self.batch, "seed": self.seed, "run": Run.none(progress=shown())}
        with self.spread():
            found = likelihood(flow.model, data, **about)
        if found.noisy:
            note(
                f"{flow.name} was trained with Gaussian noise of {flow.model.config.noise_std:g}: these are bits of "
                "noisy pictures, not to be compared with those of a model trained with --noise 0"
            )
        if self.out is not None:
            rows = [
                {"name": name, "bits": float(bits), "spread": float(spread)}
                for name, bits, spread in zip(found.names, found.bits, found.spread, strict=True)
            ]
            atomic_write(self.out, rows_csv(rows, ["name", "bits", "spread"]))
        error = float(found.bits.std()) / math.sqrt(len(found.bits)) if len(found.bits) > 1 else 0.0
        figures = {
            "bits_per_dimension": found.mean,
            "standard_error": error,
            "pictures": len(found.names),
            "draws": self.draws,
            "noisy": found.noisy,
        }
        if self.json:
            say_json(figures)
        else:
            say(f"{found.mean:.4f} bits a dimension (standard error {error:.4f})")
        return 0

    def _pictures(self, flow: "LoadedFlow") -> "FlowPictures":
        from intaglio.flow.training.data import load_pictures

        height, width = flow.model.config.image_size
        if height != width:
            raise BadInput(f"{flow.name} takes pictures of {height}x{width}; only square ones are read from a folder")
        data = load_pictures(self.images, height, classes=self.classes, skip_bad=self.skip_bad)
        if data.labels is None:
            return data
        if unknown := sorted(set(data.classes) - set(flow.labels)):
            raise BadInput(f"{flow.name} knows no class {unknown[0]!r}; it knows: {', '.join(flow.labels) or 'none'}")
        return data.relabelled(flow.labels)
