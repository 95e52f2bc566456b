"""`intaglio protect purify METHOD`: pictures cleaned of a protection or a mark."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import refuse_idle
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described, short_number
from intaglio.commands.protect.given_back import GivesBack
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.protect.originals import Original
    from intaglio.protect.purify.family import Purifier
    from intaglio.protect.purify.result import PurifiedPictures
    from intaglio.runs.time_plan import TimePlan

M = TypeVar("M")
MOST_ROWS = 40
"""Pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class ProtectPurify(GivesBack, DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Clean pictures as someone would who wants a protection or a mark gone.

    Every picture keeps its name, size, EXIF and transparency. Measure what is left with `protect evaluate` and
    `protect detect`. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """Folder of pictures to clean, or one file."""
    seed: int = 0
    """Of the noise, for methods that draw some."""

    def check_early(self) -> None:
        """Raises `BadInput` for a place of results that lies among the pictures, or is not to be written."""
        self.check_out(self.images)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.protect.originals import read_originals
        from intaglio.protect.protection import content_hash
        from intaglio.protect.purify.purification import purify_pictures
        from intaglio.protect.purify.result import PurifiedPictures

        model = self._model()
        originals, warnings = read_originals(self.images, 1)
        if self.dry_run and self.ends_with(self._plan(originals, model)):
            return 0
        known: dict[str, Any] = {"images": described(self.images, content_hash(originals))}
        if model is not None:
            known["model"] = described(self.model, model.fingerprint)
            known["autoencoder"] = described(self.model, model.part_fingerprint("autoencoder"))
        method = self._method
        settings = {**asdict(cast(Any, self.method)), "seed": self.seed}
        with self.open_run("protect", f"purify-{method.name}", settings, known, seed=self.seed) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                for warning in warnings:
                    run.warn(warning)
                self.begin(run, self._plan(originals, model))
                about = {"model": model, "seed": self.seed, "run": run}
                found = purify_pictures(method, originals, folder / "purified", **about)
                found.save(folder)
                run.finish(found.figures(), ("purified.json", "purified.csv", "purified"))
        found = cast("PurifiedPictures", PurifiedPictures.load(folder))
        _report(found, folder, self.copied(folder / "purified", [one.saved for one in found.pictures]))
        return 0

    @property
    def _method(self) -> "Purifier":
        return cast("Purifier", self.method)

    def _model(self) -> "LatentDiffusion | None":
        if self._method.uses_model:
            return self.noted_model(self.device)
        refuse_idle(self, ("model", "lora", "like"), f"{self._method.name} takes no model")
        return None

    def _plan(self, originals: "list[Original]", model: "LatentDiffusion | None") -> "TimePlan":
        """The largest picture's time for every one, by its pixels."""
        from intaglio.runs.time_plan import TimePlan
        from intaglio.runs.timed import seconds_of

        largest = max(originals, key=lambda one: one.pixels.size)
        share = sum(one.pixels.size for one in originals) / largest.pixels.size
        device = "cpu" if model is None else model.device
        one = seconds_of(lambda: self._method.clean(largest.tensor, model, self.seed), device)
        return TimePlan({"cleaning": share * one}, f"pictures   {len(originals)}, {self._method.words}")


def _report(found: "PurifiedPictures", folder: Path, given_back: Path) -> None:
    """Print a line a picture, and write the report."""
    from intaglio.report import write_report

    head = ("picture", "largest change", "PSNR", "SSIM")
    rows = [
        (one.saved, str(one.largest_difference), short_number(one.psnr), short_number(one.ssim))
        for one in found.pictures[:MOST_ROWS]
    ]
    say(aligned([head, *rows]))
    if (left := len(found.pictures) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'purified.csv'}")
    say()
    say(f"{found.statement} They are in {given_back}.")
    say(str(write_report(folder)))
