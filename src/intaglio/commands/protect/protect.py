"""`intaglio protect METHOD`: pictures given back with a small change that spoils imitation."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.cluster_inputs import OnCluster
from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, described, embedded_model, short_number
from intaglio.commands.protect.given_back import GivesBack
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from torch import Tensor

    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.protect.family import Protector
    from intaglio.protect.originals import Original
    from intaglio.protect.result import ProtectionResult
    from intaglio.runs.run import Run

M = TypeVar("M")
HONEST = (
    "This raises the cost of imitation; it does not make it impossible. Cleaning the pictures (JPEG, resizing, "
    "purifying with a model) takes much of the effect away, other models than the surrogate may not be fooled, and "
    "copies that are online without it stay useful. Judge it before you rely on it."
)


@dataclass(frozen=True, kw_only=True)
class Protect(GivesBack, DryRun, OnCluster, InRun, Generic[M]):
    """Give pictures back with a small change, so that a model that learns or edits them does it badly.

    Every picture keeps its name, size, EXIF, transparency and colour profile; no number of it changes by more than the
    budget. The same command again goes on where a killed one was: pictures that are done stay.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """Folder of pictures to protect, or one file."""
    model: Path | None = None
    """The surrogate, which stands for an imitator's model: a diffusers folder or a single .safetensors file; none
    takes the embedded testbed."""
    like: Path | None = None
    """A diffusers folder that gives the surrogate what it lacks, such as the tokenizer of a single file."""
    prompt: str = ""
    """Prompt that an imitator would give the pictures, such as "a painting"."""
    target: Path | None = None
    """Picture to lead towards, for methods that take one."""
    masks: Path | None = None
    """Folder of masks, each of its picture's name and size: white may change, black must stay. A picture without one
    may change everywhere."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.models.diffusion.loading import load_model
        from intaglio.protect.masks import read_masks
        from intaglio.protect.originals import read_originals
        from intaglio.protect.protection import forget, planned, protect
        from intaglio.protect.result import ProtectionResult

        self._check()
        model = load_model(self.model or embedded_model(), like=self.like, device=self.device)
        originals, warnings = read_originals(self.images, model.resolution)
        masks, about_masks = read_masks(self.masks, originals)
        target = self._target(model)
        if self.dry_run and self.ends_with(planned(self._method, model, originals, prompt=self.prompt)):
            return 0
        with self._open(model, originals) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                for warning in (*model.notes, *warnings, *about_masks, *_about(originals)):
                    run.warn(warning)
                plan = planned(self._method, model, originals, prompt=self.prompt)
                self.begin(run, plan)
                run.record("plan", "plan", asdict(plan))
                self.say_spread(run)
                about = {"prompt": self.prompt, "target": target, "masks": masks, "run": run}
                with self.spread():
                    found = protect(self._method, model, originals, folder / "protected", **about)
                found.save(folder)
                run.finish(found.figures(), ("protection.json", "pictures.csv", "protected"))
            forget(self._method, originals, run)
        found = cast(ProtectionResult, ProtectionResult.load(folder))
        _report(found, folder, self.copied(folder / "protected", [one.saved for one in found.pictures]))
        return 0

    @property
    def _method(self) -> "Protector":
        return cast("Protector", self.method)

    def check_early(self) -> None:
        """Raises `BadInput` for a target that is a folder, and for a place of results that is not to be written."""
        if self.target is not None and self.target.is_dir():
            raise BadInput(f"--target {self.target} is a folder; name one picture")
        self.check_out(self.images)

    def _check(self) -> None:
        if self.target is not None and not self._method.uses_target:
            raise BadInput(f"{self._method.name} leads towards no target; leave --target out, or take another method")

    def _target(self, model: "LatentDiffusion") -> "Tensor | None":
        from intaglio.images.image_set import ImageSet

        return None if self.target is None else ImageSet.load(self.target, model.resolution).pixels[:1]

    def _open(self, model: "LatentDiffusion", originals: "list[Original]") -> "Run":
        from intaglio.files import folder_hash
        from intaglio.protect.protection import content_hash

        known = {
            "model": described(self.model, model.fingerprint),
            "images": described(self.images, content_hash(originals)),
        }
        for name, path in (("target", self.target), ("masks", self.masks)):
            if path is not None:
                known[name] = described(path, folder_hash(path))
        settings = {**asdict(self._method), "prompt": self.prompt}
        return self.open_run("protect", self._method.name, settings, known, seed=self._method.seed)


def _about(originals: "list[Original]") -> list[str]:
    """Sentences on what giving back changes besides the protection."""
    from intaglio.protect.originals import NOTES

    by_note = {note: [one.name for one in originals if note in one.notes] for note in NOTES}
    each = {1: ""}
    return [
        f"{_named(names)}{each.get(len(names), ': each')} {NOTES[note]}" for note, names in by_note.items() if names
    ]


def _named(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _report(found: "ProtectionResult", folder: Path, given_back: Path) -> None:
    """Print a line a picture, and write the report."""
    from intaglio.report import write_report

    head = ("picture", "given back as", "largest change", "PSNR", "SSIM")
    rows = [
        (one.name, one.saved, str(one.largest_difference), short_number(one.psnr), short_number(one.ssim))
        for one in found.pictures
    ]
    say(aligned([head, *rows]))
    say()
    unchanged = [one.name for one in found.pictures if not one.largest_difference]
    if unchanged:
        say(f"Nothing was changed in {_named(unchanged)}: nothing is protected there; raise the budget or the steps.")
    many = len(rows) != 1
    say(f"{len(rows)} {'pictures are' if many else 'picture is'} in {given_back}. {HONEST}")
    say(str(write_report(folder)))
