"""`intaglio explain sharpening METHOD`: an encoder of pictures, sharpened by a generator that draws from it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described, noted
from intaglio.commands.kit.picture_sides import check_resolution
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from intaglio.explain.sharpening.family import EncoderSharpener
    from intaglio.explain.sharpening.result import SharpenedEncoder
    from intaglio.metrics.similarity.encoder import Encoder
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

M = TypeVar("M")
EMBEDDED_NAME = "embedded"
"""Name of the embedded encoder."""


@dataclass(frozen=True, kw_only=True)
class ExplainSharpening(DryRun, InRun, ReadsPictures, Generic[M]):
    """Sharpen an encoder by a weak generator that must draw pictures from its descriptors, and tell what changed.

    The encoder goes into the run's folder as encoder.safetensors, which --similarity of other commands reads. Held-out
    pictures and changed copies of them tell whether it finds copies better than before, how far its descriptors moved,
    and how well they can be drawn from. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder."""
    network: str = EMBEDDED_NAME
    """The encoder: embedded, trained on emoji, or a .safetensors file in its layout, such as one that this wrote."""
    model: Path | None = None
    """A model whose autoencoder makes the latents that are drawn: a diffusers folder, a single .safetensors file, or an
    embedded model; none takes emoji64."""
    resolution: int = 64
    """Pixels of a side to which pictures are read, from 16; a multiple of what the autoencoder shrinks by."""

    def __post_init__(self) -> None:
        check_resolution(self.resolution)

    def check_early(self) -> None:
        """Raises `BadInput` for an encoder that is not there or of another layout."""
        self._encoder_path()

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.commands.kit.inputs import embedded_model
        from intaglio.explain.sharpening.autoencoded import autoencoded
        from intaglio.explain.sharpening.cost import sharpening_plan
        from intaglio.explain.sharpening.result import ENCODER_FILE, SharpenedEncoder
        from intaglio.files import file_hash
        from intaglio.metrics.similarity.encoder import load_encoder
        from intaglio.models.diffusion.loading import load_model

        path = self._encoder_path()
        encoder: Encoder = load_encoder(path, self.device)
        images = self.load_pictures(self.images, self.resolution)
        model: LatentDiffusion = noted(load_model(self.model or embedded_model(), device=self.device))
        self._method.parts(images)
        plan = sharpening_plan(self._method, encoder, images, autoencoded(model, images[: self._method.rows]))
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {
            "images": described(self.images, images.fingerprint),
            "network": described(self.network, file_hash(path)),
            "model": described(self.model, model.fingerprint),
        }
        settings = {**asdict(cast(Any, self.method)), "resolution": self.resolution}
        with self.open_run("explain", f"sharpening-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                name = self.network if self.network == EMBEDDED_NAME else path.name
                found = self._method(encoder, images, autoencoded(model, images), of=name, run=run)
                found.save(folder)
                run.finish(found.figures(), (found.file, found.table, ENCODER_FILE))
                self._method.forget(run)
        _report(cast("SharpenedEncoder", SharpenedEncoder.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "EncoderSharpener":
        return cast("EncoderSharpener", self.method)

    def _encoder_path(self) -> Path:
        """The encoder's file. Raises `BadInput` where it is none that can learn."""
        from intaglio.metrics.similarity.encoder import ARCHITECTURE, EMBEDDED, metadata

        if self.network == EMBEDDED_NAME:
            return EMBEDDED
        path = Path(self.network)
        if not path.exists():
            raise BadInput(f"{one_line(self.network)} does not exist; check the path of --network")
        if path.suffix != ".safetensors" or metadata(path).get("architecture") != ARCHITECTURE:
            raise BadInput(
                f"{path} is no encoder that can be sharpened; give embedded, or a .safetensors file in its layout "
                f"({ARCHITECTURE})"
            )
        return path


def _report(found: "SharpenedEncoder", folder: Path) -> None:
    """Print what changed, and write the report."""
    from intaglio.explain.sharpening.result import ENCODER_FILE
    from intaglio.report import write_report

    figures = found.figures()
    rows = [
        (words, f"{figures[f'{name}_before']:.3f}", f"{figures[f'{name}_after']:.3f}")
        for words, name in (
            ("nearest is the original", "nearest"),
            ("found at 1% of twins", "found"),
            ("average precision", "precision"),
            ("generator's error", "loss"),
        )
    ]
    say(aligned([("held-out pictures", "before", "after"), *rows]))
    say()
    say(found.statement)
    say(f"--similarity {folder / ENCODER_FILE}")
    say(str(write_report(folder)))
