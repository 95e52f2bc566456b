"""`intaglio protect detect`: whether pictures carry the mark of a key, and which user's."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import refuse_idle
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described, short_number
from intaglio.commands.kit.recorded_method import fits
from intaglio.commands.kit.source_settings import class_variable
from intaglio.errors import BadInput
from intaglio.files import file_hash
from intaglio.printable import aligned
from intaglio.protect.fingerprint.mark_key import MOST_USERS, KeptKey, trained_beside
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from torch import Tensor

    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.protect.fingerprint.family import PictureMark
    from intaglio.protect.fingerprint.result import MarkDetections

MARKS = "protect fingerprint"
"""The verb whose methods are marks."""
MOST_ROWS = 40
"""Pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class ProtectDetect(DryRun, ModelAndLoRA, InRun):
    """Look for the marks of a key in pictures: a p-value a picture, and the likeliest user.

    The p-value counts all users and seeds that are tried. With --controls, pictures of the same kind that certainly
    carry no mark, the rate of false calls is measured beside the one that was asked for.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images", "controls")
    key: Path
    """File of the key that the pictures were marked with."""
    images: Path
    """Folder of pictures to look at, or one file."""
    controls: Path | None = None
    """Folder of pictures that certainly carry no mark."""
    fpr: float = 1e-6
    """False-positive rate asked for, in (0, 1)."""
    users: int = 1
    """Users 0, 1, ... that are tried, 1 to a million; p grows by this factor. User 7 takes 8 or more."""
    first_seed: int = 0
    """First seed that is tried, for marks whose pictures have nonces, 0 to 2**62 - 1."""
    seeds: int = 100
    """Seeds that are tried of each picture, for such marks, from 1; p grows by this factor."""
    micro_batch: int = 64
    """Rows in one call of the network, from 1; lower it when memory is short, the result stays."""

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1, not {self.fpr}")
        for name, least in {"users": 1, "seeds": 1, "micro_batch": 1, "first_seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.users > MOST_USERS:
            raise ValueError(f"users must be at most {MOST_USERS:,}, not {self.users}")
        if self.first_seed + self.seeds > 2**62:
            raise ValueError(f"first_seed must be 0 to 2**62 - {self.seeds}, not {self.first_seed}")

    def check_early(self) -> None:
        """Raises `BadInput` for a key that cannot be read, or that is of no mark there is."""
        kept = KeptKey.load(self.key)
        if kept.method not in VERBS[MARKS].methods:
            raise BadInput(f"{self.key} is a key of {kept.method!r}, which is not here; use its version")
        beside = trained_beside(self.key)
        if _learns_once(kept) and not beside.is_file():
            raise BadInput(
                f"{kept.method} is read by what it was trained to, and {beside} is not there; put the file beside the "
                "key again that was made with it"
            )

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.protect.fingerprint.cost import detection_plan
        from intaglio.protect.fingerprint.detection import detect
        from intaglio.protect.fingerprint.result import MarkDetections

        kept = KeptKey.load(self.key)
        mark = self._mark(kept)
        model = self._model(mark)
        names, pixels, digest = self._pictures(self.images, model)
        controls, other = [], None
        if self.controls is not None:
            _, controls, other = self._pictures(self.controls, model)
        pictures = len(pixels) + len(controls)
        if self.dry_run and self.ends_with(detection_plan(mark, model, pictures, self.users, self.seeds)):
            return 0
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        known: dict[str, Any] = {"key": described(self.key, kept.key.hash), "images": described(self.images, digest)}
        if other is not None:
            known["controls"] = described(self.controls, other)
        if _learns_once(kept):
            known["trained"] = described(trained_beside(self.key), file_hash(trained_beside(self.key)))
        if model is not None:
            known["model"] = described(self.model, model.fingerprint)
            known["autoencoder"] = described(self.model, model.part_fingerprint("autoencoder"))
        settings = {"method": kept.method, **kept.settings, "fpr": self.fpr, "users": self.users}
        if mark.nonces:
            settings |= {"first_seed": self.first_seed, "seeds": self.seeds}
        with self.open_run("protect", "detect", settings, known, seed=None) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, detection_plan(mark, model, pictures, self.users, self.seeds))
                options = {"model": model, "users": self.users, "seeds": seeds, "fpr": self.fpr, "controls": controls}
                found = detect(mark, names, pixels, kept.key, **options, run=run)
                found.save(folder)
                run.finish(found.figures(), ("detections.json", "detections.csv"))
        _report(cast("MarkDetections", MarkDetections.load(folder)), folder)
        return 0

    def _mark(self, kept: KeptKey) -> "PictureMark":
        """The mark of a key. Raises `BadInput` for settings that it does not take."""
        from intaglio.bench.kit.methods import default_method

        mark = default_method(MARKS, kept.method, micro_batch=self.micro_batch)
        for name, value in kept.settings.items():
            if not hasattr(mark, name) or name in mark.spared or not fits(value, getattr(mark, name)):
                raise BadInput(f"the settings in {self.key} are none of {kept.method}'s ({name}); use its version")
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.settings.items()}
        if _learns_once(kept):
            given["trained"] = trained_beside(self.key)
        try:
            return replace(mark, **given)
        except (ValueError, TypeError) as error:
            raise BadInput(f"the settings in {self.key} do not go together: {error}") from None

    def _model(self, mark: "PictureMark") -> "LatentDiffusion | None":
        if mark.carrier == "noise":
            return self.noted_model(self.device)
        refuse_idle(self, ("model", "lora", "like", "first_seed", "seeds"), f"{mark.name} is read from pixels alone")
        return None

    def _pictures(self, path: Path, model: "LatentDiffusion | None") -> "tuple[list[str], list[Tensor], str]":
        """Names, pixels and a hash: at the model's resolution where there is one, else at their own size."""
        from intaglio.images.image_set import ImageSet
        from intaglio.protect.originals import read_originals
        from intaglio.protect.protection import content_hash

        if model is not None:
            images = ImageSet.load(path, model.resolution)
            for warning in images.warnings:
                note(warning)
            return list(images.names), list(images.pixels), images.fingerprint
        originals, warnings = read_originals(path, 1)
        for warning in warnings:
            note(warning)
        return [one.name for one in originals], [one.tensor[0] for one in originals], content_hash(originals)


def _learns_once(kept: KeptKey) -> bool:
    """Whether a key's mark is read by what it was trained to, a file beside the key; told without importing torch."""
    return bool(class_variable(VERBS[MARKS].methods[kept.method].target, "learns_once"))


def _report(found: "MarkDetections", folder: Path) -> None:
    """Print a line a picture, the smallest p first, and write the report."""
    from intaglio.report import write_report

    head = ("picture", "p", "verdict", "user", "seed", "right bits")
    rows = [
        (
            row["name"],
            short_number(row["p"]),
            "marked" if row["called"] else "-",
            one.owner if row["called"] else "-",
            str(row["seed"]) if row["called"] and row["seed"] is not None else "-",
            "-" if row["bits"] is None else f"{row['bits']:.0%}",
        )
        for one, row in zip(found.ranked[:MOST_ROWS], found.rows(), strict=False)
    ]
    say(aligned([head, *rows]))
    if (left := len(found.pictures) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'detections.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
