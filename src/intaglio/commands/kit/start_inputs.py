"""Flags of the start of a sampling, and what such a start leaves in a picture's settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from intaglio.commands.kit.console import note
from intaglio.commands.kit.idle_flags import idle_flags
from intaglio.commands.kit.png_settings import SearchRecord, StartName, StartRecord
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.sampling.start import FittedStart, NoiseStart
    from intaglio.sampling.starts.analytic import LatentMoments

SHARE = 0.94
"""Timestep of an analytic start over those of the schedule, where none is given."""
DATA = ("start_pictures", "start_file")
"""Settings that give what a start was fitted to; `FittedStart.given_by` is one of them."""


@dataclass(frozen=True, kw_only=True)
class StartInputs:
    """A command whose sampling may begin elsewhere than in unit noise at the last timestep."""

    start: StartName = "unit"
    """Where the sampling begins: unit is standard normal noise; analytic has the mean and the variance of noised
    pictures, so that the first, noisiest timesteps can be left out (arXiv 2406.15735); ot is near states that were
    drawn by sample train ot, later still (arXiv 2307.11308); promptgen is noise that sample train promptgen led to what
    a verifier likes (arXiv 2209.06970)."""
    from_step: int | None = None
    """Timestep to begin at, 0 to the schedule's last, usually 999; the steps are spread from there to the clean end.
    None takes the last, for an analytic start that at 94 % of the schedule, and for a trained one its own."""
    start_pictures: Path | None = None
    """With --start analytic: a folder of pictures such as the model draws, better 256 or more, or the file
    start-*.safetensors that earlier pictures have beside them; none takes the embedded model's own pictures."""

    start_file: Path | None = None
    """With a trained start, ot or promptgen: the file that sample train wrote for this model."""

    def check_start(self, replaying: bool) -> None:
        """Raises `ValueError` for flags of a start that do not go together; a replay takes the start of its picture."""
        kind = fitted_start(self.start)
        if not replaying and (
            idle := idle_flags(self, [name for name in DATA if kind is None or name != kind.given_by])
        ):
            raise ValueError(
                f"--start {self.start} has no use for {' and '.join(idle)}; leave it out, or change --start"
            )
        if kind is not None and kind.must_be_given and getattr(self, kind.given_by) is None:
            raise ValueError(f"--start {self.start} has no start of its own; {kind.remedy}")
        if self.from_step is not None and self.from_step < 0:
            raise ValueError(f"--from-step must be 0 or more, not {self.from_step}")

    def start_of(self, model: "LatentDiffusion", embedded: bool, out: Path) -> "NoiseStart":
        """The start, fitted where that is needed; a fit of before is taken from the folder of the pictures.

        Raises `BadInput` for a timestep that there is not, where pictures are missing, and for a start that was fitted
        to another model.
        """
        from intaglio.sampling.grid import timestep_grid
        from intaglio.sampling.start import UnitNoise
        from intaglio.sampling.starts.analytic import AnalyticStart
        from intaglio.sampling.starts.trained_starts import trained_start

        first = self.from_step
        if self.start == "analytic" and first is None:
            first = round(SHARE * model.schedule.count)
        timestep_grid(model.schedule, 1, first)
        if self.start == "unit":
            return UnitNoise(first)
        if self.start_file is not None:
            return trained_start(self.start, self.start_file, model, first)
        return AnalyticStart(self._moments(model, embedded, out), first)

    def _moments(self, model: "LatentDiffusion", embedded: bool, out: Path) -> "LatentMoments":
        from intaglio.sampling.starts.analytic import ENOUGH, LatentMoments, hash_of, hash_of_fit

        if self.start_pictures is not None and self.start_pictures.suffix == ".safetensors":
            return LatentMoments.load(self.start_pictures, model)
        pictures = self._pictures(model, embedded)
        kept = out / file_of(hash_of_fit(model.fingerprint, hash_of(pictures)))
        if kept.is_file():
            return LatentMoments.load(kept, model)
        if len(pictures) < ENOUGH:
            note(f"an analytic start of {len(pictures)} pictures is rough; give {ENOUGH} or more by --start-pictures")
        return LatentMoments.fit(model, pictures)

    def _pictures(self, model: "LatentDiffusion", embedded: bool) -> "ImageSet":
        from intaglio.images.image_set import ImageSet
        from intaglio.models import testbed

        if self.start_pictures is not None:
            return ImageSet.load(self.start_pictures, model.resolution)
        if not embedded:
            raise BadInput(
                "--start analytic needs pictures such as the model draws; give a folder of them by --start-pictures"
            )
        return testbed.real_pictures()


def fitted_start(name: str) -> "type[FittedStart] | None":
    """The class of a start by its name; None for unit noise, which is fitted to nothing."""
    if name == "unit":
        return None
    from intaglio.sampling.starts.trained_starts import FITTED

    return FITTED[name]


def start_record(start: "NoiseStart", search: SearchRecord | None = None) -> StartRecord | None:
    """The entry of a start in a picture's settings; None for the seed's own unit noise at the last timestep."""
    from intaglio.sampling.start import FittedStart

    if isinstance(start, FittedStart):
        return StartRecord(name=cast("StartName", start.name), first=start.first, hash=start.hash, search=search)
    if start.first is None and search is None:
        return None
    return StartRecord(name="unit", first=start.first, hash=None, search=search)


def keep_start(start: "NoiseStart", out: Path) -> None:
    """Writes what was fitted beside the pictures, unless it is there."""
    from intaglio.sampling.start import FittedStart

    if isinstance(start, FittedStart) and not (path := out / file_of(start.hash)).is_file():
        start.save(path)


def file_of(fit: str) -> str:
    """The name of the file of a fitted start, by its hash."""
    return f"start-{fit[:16]}.safetensors"
