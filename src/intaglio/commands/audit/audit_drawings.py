"""`intaglio audit drawings METHOD`: whether pictures from elsewhere are what a model draws by the settings they carry.

A drawing's time is that of `intaglio sample`, so that there is no plan of its own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.drawn_again import drawn_again
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described, short_number
from intaglio.commands.kit.png_settings import PictureSettings
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.inference.drawings.family import DrawingCheck, Redraw
    from intaglio.audit.inference.drawings.result import CheckedDrawings
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

M = TypeVar("M")
MOST_ROWS = 40
"""Pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class AuditDrawings(InRun, ReadsPictures, ModelAndLoRA, Generic[M]):
    """Tell whether pictures that were drawn elsewhere are what a model draws, by drawing some of them again.

    Each picture is a PNG of `intaglio sample`, which carries its prompt, seed and settings; it is drawn again by these
    and by the given model, whichever model it names. Choose --seed after the pictures have come. The same command again
    goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder or a file. All were drawn by the method plain, in float32, from unit noise."""

    def check_early(self) -> None:
        """Raises `BadInput` for files that are to be left out: whoever made them could hide fakes among them."""
        if self.skip_bad:
            raise BadInput("a file that cannot be read may hide a fake; leave --skip-bad out, and take it out yourself")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.inference.drawings.result import CheckedDrawings
        from intaglio.images.folder import list_pictures
        from intaglio.runs.plain_json import digest
        from intaglio.sampling.methods.plain import Plain

        recorded = {entry.name: _settings(entry.path) for entry in list_pictures(self.images).entries}
        model = self.noted_model(self.device)
        images = self.load_pictures(self.images, Plain().side(model))
        inputs = {
            "model": described(self.model, model.fingerprint),
            "images": described(self.images, images.fingerprint),
        }
        method = cast("DrawingCheck", self.method)
        settings = {**asdict(method), "recorded": digest([[name, asdict(one)] for name, one in recorded.items()])}
        with self.open_run("audit", f"drawings-{method.name}", settings, inputs, seed=method.seed) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                for warning in images.warnings:
                    run.warn(warning)
                if (copies := len(images) - len(set(images.hashes))) > 0:
                    run.warn(
                        f"{copies} of the pictures {'is a copy of another' if copies == 1 else 'are copies of others'} "
                        "and counted beside it; the chances are those of different pictures"
                    )
                found = method(images, self._redraw(recorded, images, model), run=run)
                found.save(folder)
                run.finish(found.figures(), ("checked_drawings.json", "checked_drawings.csv"))
        _report(cast("CheckedDrawings", CheckedDrawings.load(folder)), folder)
        return 0

    def _redraw(
        self, recorded: Mapping[str, PictureSettings], images: "ImageSet", model: "LatentDiffusion"
    ) -> "Redraw":
        from intaglio.sampling.methods.plain import Plain
        from intaglio.sampling.start import UnitNoise

        before = dict(zip(images.names, images.pixels, strict=True))

        def redraw(name: str) -> Any:
            way = {"method": Plain()}
            return drawn_again(recorded[name], before[name], model, way, UnitNoise(), self.images / name)[0]

        return redraw


def _settings(path: Path) -> PictureSettings:
    """The settings of a picture. Raises `BadInput` for one of another way to draw."""
    found = PictureSettings.read(path)
    if found.method != "plain" or found.base is not None or found.start is not None or found.dtype != "float32":
        raise BadInput(
            f"{path} was not drawn by the method plain, in float32 and from unit noise; leave it out, and draw it "
            f"again by intaglio sample --replay {path}"
        )
    return found


def _report(found: "CheckedDrawings", folder: Path) -> None:
    """Print the pictures that were drawn again, and write the report."""
    from intaglio.report import write_report

    every = sorted(found.rows(), key=lambda row: (-row["distance"], row["picture"]))
    rows = [
        (row["picture"], "the same" if row["same"] else "another", short_number(row["distance"]))
        for row in every[:MOST_ROWS]
    ]
    say(aligned([("picture", "drawn again", "grey levels apart"), *rows]))
    if (left := len(every) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'checked_drawings.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
