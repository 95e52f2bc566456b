"""`intaglio protect fingerprint METHOD`: pictures, or a model of them, with a mark that its owner's key finds again."""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import refuse_idle
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described, short_number
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.commands.protect.given_back import GivesBack
from intaglio.errors import BadInput
from intaglio.files import atomic_path, file_hash
from intaglio.printable import aligned
from intaglio.protect.fingerprint.mark_key import MOST_USERS, KeptKey, MarkKey, trained_beside
from intaglio.sampling.sampler_names import SamplerName

if TYPE_CHECKING:
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.protect.fingerprint.family import NoiseMark, PictureMark, PixelMark, WeightMark
    from intaglio.protect.fingerprint.result import MarkedPictures
    from intaglio.protect.originals import Original
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan

M = TypeVar("M")
WAY = ("prompt", "prompts", "count", "sampler", "steps", "guidance", "negative")
"""Flags of a drawing alone."""
DRAWING = ("model", "lora", "like", "seed", *WAY)
"""Flags of a drawing, and of what draws."""
MOST_ROWS = 40
"""Pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class ProtectFingerprint(GivesBack, DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Mark pictures so that their owner's key finds them again, by `protect detect`.

    A mark in pixels takes --images and gives them back; a mark in the noise draws pictures from --prompt; a mark in
    weights takes a model and --images such as it draws, and gives a model of which every picture is marked. Every mark
    is read back from its file. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    made_files: ClassVar[tuple[str, ...]] = ("key",)
    method: tyro.conf.OmitArgPrefixes[M]
    key: Path
    """File of the key, made where there is none. Whoever has it finds the mark, and can put it into other pictures."""
    user: int = 0
    """Number of the user whose mark it is, 0 to 999,999: one key has a mark for each. Detection tries users from 0 on,
    so that low numbers are found sooner."""
    images: Path | None = None
    """Folder of pictures to mark, or one file, for a mark in pixels; of pictures such as the model draws, for a mark in
    weights, one in five of which is held back to be read."""
    prompt: tuple[str, ...] = ()
    """Prompts to draw marked pictures of, for a mark in the noise."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    count: int = 1
    """Pictures of each prompt, 1 or more."""
    seed: int = 0
    """Seed of the first picture, 0 to 2**62 - 1; the k-th of all after it has this number plus k. Of a mark in weights,
    the seed of batches."""
    sampler: SamplerName | None = None
    """Sampler of the drawing; none takes ddim, or the one a distilled model was made for."""
    steps: int | None = None
    """Sampling steps, 1 to 1000; none takes 30, or those a distilled model was made for."""
    guidance: float | None = None
    """Guidance scale, 0 or more; none takes 5, or the model's own. The higher, the less of the mark is read back."""
    negative: str = ""
    """Negative prompt."""
    batch: int = 8
    """Pictures drawn at once, from 1."""

    def __post_init__(self) -> None:
        for name, least in {"count": 1, "batch": 1, "user": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.user >= MOST_USERS:
            raise ValueError(f"user must be below {MOST_USERS:,}, not {self.user}")
        if not 0 <= self.seed < 2**62:
            raise ValueError(f"seed must be 0 to 2**62 - 1, not {self.seed}")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise ValueError(f"steps must be 1 to 1000, not {self.steps}")
        if self.guidance is not None and not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance must be 0 or more, and finite, not {self.guidance}")

    def check_early(self) -> None:
        """Raises `BadInput` for a key that cannot be read, and for none or both of pictures and prompts."""
        texts = bool(self.prompt) + (self.prompts is not None)
        if (given := texts + (self.images is not None)) != 1:
            raise BadInput(
                f"{given or 'none'} of --images, --prompt and --prompts {'were' if given else 'was'} given; give "
                "--images for a mark in pixels or in weights, or one of the others for a mark in the noise"
            )
        if self.key.exists():
            KeptKey.load(self.key)
        self.check_out(self.images)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.protect.fingerprint.result import MarkedPictures

        self._check_carrier()
        self._kept()
        if self._mark.carrier == "weights":
            return self._mark_model()
        given = self._originals() if self._mark.carrier == "pixels" else self.noted_model(self.device)
        if self.dry_run and self.ends_with(self._plan(given)):
            return 0
        key = self._key(given)
        with self._open(given, key) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, self._plan(given))
                found = self._marked(given, key, run)
                found.save(folder)
                run.finish(found.figures(), ("marked.json", "marked.csv", "marked"))
        found = cast("MarkedPictures", MarkedPictures.load(folder))
        _report(found, folder, self.copied(folder / "marked", [one.saved for one in found.pictures]))
        return 0

    @property
    def _mark(self) -> "PictureMark":
        return cast("PictureMark", self.method)

    def _check_carrier(self) -> None:
        mark = self._mark
        if mark.carrier == "pixels":
            if self.images is None:
                raise BadInput(f"{mark.name} marks pictures that are there; give --images in place of prompts")
            refuse_idle(self, DRAWING, f"{mark.name} draws nothing")
        elif mark.carrier == "weights":
            if self.images is None:
                raise BadInput(
                    f"{mark.name} marks a model, whose decoder it tunes on pictures; give --images in place of prompts"
                )
            refuse_idle(self, (*WAY, "out"), f"{mark.name} gives back a model in the run's own folder")
        elif self.images is not None:
            raise BadInput(f"{mark.name} marks the noise that pictures are drawn from; give --prompt, not --images")
        check_count("--count", self.count * (0 if self.images else len(self._texts(1))))

    @property
    def _settings(self) -> dict[str, Any]:
        """The settings that belong to the key."""
        return {name: value for name, value in asdict(cast(Any, self._mark)).items() if name not in self._mark.spared}

    def _kept(self) -> KeptKey | None:
        """The key of the file, or None where there is none. Raises `BadInput` for one of another mark."""
        if not self.key.exists():
            return None
        kept, mark = KeptKey.load(self.key), self._mark
        if kept.method != mark.name:
            raise BadInput(f"{self.key} is a key of {kept.method}, not of {mark.name}; give another --key")
        if not kept.same_settings(self._settings):
            raise BadInput(
                f"{self.key} is a key of {kept.method} with other settings ({kept.described}); give those, or another "
                "--key"
            )
        return kept

    def _key(self, given: "list[Original] | LatentDiffusion") -> MarkKey:
        """The key of the file, which is made where there is none, once the mark is known to fit what is given."""
        from intaglio.models.capabilities import check_needs
        from intaglio.sampling.start import latent_shape_of

        if not isinstance(given, list):
            check_needs(self._mark, given)
            whole = (3, given.resolution, given.resolution)
            self._mark.check_shape(whole if self._mark.carrier == "weights" else latent_shape_of(given), given.name)
        if (kept := self._kept()) is not None:
            return kept.key
        kept = KeptKey(MarkKey.fresh(), self._mark.name, self._settings)
        kept.save(self.key)
        note(f"made the key {self.key}; keep it, and keep it secret")
        return kept.key

    def _originals(self) -> "list[Original]":
        from intaglio.protect.originals import read_originals

        originals, warnings = read_originals(cast(Path, self.images), 1)
        for warning in warnings:
            note(warning)
        for one in originals:
            self._mark.check_shape((3, *one.pixels.shape[:2]), one.name)
        return originals

    def _texts(self, count: int | None = None) -> list[str]:
        """The prompts, each so many times; none takes --count."""
        given = list(self.prompt) if self.prompts is None else read_prompts(self.prompts)
        return [prompt for prompt in given for _ in range(self.count if count is None else count)]

    def _plan(self, given: "list[Original] | LatentDiffusion") -> "TimePlan":
        from intaglio.protect.fingerprint.cost import drawing_plan
        from intaglio.runs.time_plan import TimePlan

        if isinstance(given, list):
            return TimePlan({}, f"pictures   {len(given)}, marked in their pixels")
        count = len(self._texts())
        mark = cast("NoiseMark", self._mark)
        return drawing_plan(mark, given, count, min(self.batch, count), steps=self.steps, scale=self.guidance)

    def _open(self, given: "list[Original] | LatentDiffusion", key: MarkKey) -> "Run":
        from intaglio.protect.protection import content_hash

        known = {"key": described(self.key, key.hash)}
        settings = {**self._settings, "user": self.user}
        if isinstance(given, list):
            known["images"] = described(self.images, content_hash(given))
        else:
            known["model"] = described(self.model, given.fingerprint)
            known["autoencoder"] = described(self.model, given.part_fingerprint("autoencoder"))
            settings |= {"prompts": self._texts(), **self._way(given)}
        return self.open_run("protect", f"fingerprint-{self._mark.name}", settings, known, seed=self.seed)

    def _way(self, model: "LatentDiffusion") -> dict[str, Any]:
        from intaglio.sampling.fixed_sampling import settled

        steps, sampler, scale = settled(model, self.steps, self.sampler, self.guidance)
        return {"steps": steps, "sampler": sampler, "guidance_scale": scale, "negative": self.negative}

    def _marked(self, given: "list[Original] | LatentDiffusion", key: MarkKey, run: "Run") -> "MarkedPictures":
        from intaglio.protect.fingerprint.marking import draw_marked, mark_pictures

        folder, own = Path(run.folder or ".") / "marked", {"user": self.user, "run": run}
        if isinstance(given, list):
            return mark_pictures(cast("PixelMark", self._mark), given, folder, key, **own)
        texts = self._texts()
        seeds = range(self.seed, self.seed + len(texts))
        way = {**self._way(given), "batch": self.batch}
        return draw_marked(cast("NoiseMark", self._mark), given, texts, seeds, folder, key, **way, **own)

    def _mark_model(self) -> int:
        """The command for a mark in weights."""
        from intaglio.images.image_set import ImageSet
        from intaglio.learning.checkpoints import STATE
        from intaglio.protect.fingerprint.cost import tuning_plan
        from intaglio.protect.fingerprint.marked_model import CARD, MODEL, check_enough, mark_model
        from intaglio.protect.fingerprint.result import MarkedPictures

        mark = self._trained_mark()
        model = self.noted_model(self.device)
        mark.check_model(model)
        images = ImageSet.load(cast(Path, self.images), model.resolution)
        check_enough(len(images))
        plan = tuning_plan(mark, model, len(images))
        if self.dry_run and self.ends_with(plan):
            return 0
        key = self._key(model)
        with self._open_model(model, images, key) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                for warning in (*model.notes, *images.warnings):
                    run.warn(warning)
                self.begin(run, plan)
                about = {"user": self.user, "seed": self.seed, "run": run}
                made = mark_model(mark, model, images, folder / "marked", key, **about)
                made.save(folder)
                run.finish(
                    {**made.marks.figures(), "weights": MODEL}, (MODEL, CARD, "marked.json", "marked.csv", "marked")
                )
                run.drop_state(STATE)
        self._keep_trained(mark, folder)
        _report(cast("MarkedPictures", MarkedPictures.load(folder)), folder, folder / "marked")
        say(str(folder / MODEL))
        return 0

    def _trained_mark(self) -> "WeightMark":
        """The mark in weights, with the trained file that lies beside its key, where there is one.

        Raises `BadInput` for --trained where the key has another file.
        """
        mark, beside = cast("WeightMark", self._mark), trained_beside(self.key)
        if not mark.learns_once:
            return mark
        given = cast(Any, mark).trained
        if self.key.exists() and beside.exists():
            if given is not None and file_hash(given) != file_hash(beside):
                raise BadInput(
                    f"{self.key} has a trained file of its own, {beside}, and {given} is another; leave --trained out, "
                    "or give another --key"
                )
            given = beside
        elif given is None and self.key.exists():
            note(f"{beside} is not there: a training goes on, or a new one begins, which reads no earlier mark")
        return cast("WeightMark", replace(cast(Any, mark), trained=given))

    def _keep_trained(self, mark: "WeightMark", folder: Path) -> None:
        """Copy what the mark was trained to beside the key, where it is not there yet."""
        beside = trained_beside(self.key)
        if not mark.learns_once or beside.exists():
            return
        with atomic_path(beside) as temporary:
            temporary.touch(0o600)
            shutil.copyfile(cast(Any, mark).trained or folder / "marked" / f"{mark.name}.safetensors", temporary)
        note(f"kept {beside}, which reads this key's marks and makes those of further users; keep it with the key")

    def _open_model(self, model: "LatentDiffusion", images: "ImageSet", key: MarkKey) -> "Run":
        known = {
            "key": described(self.key, key.hash),
            "images": described(self.images, images.fingerprint),
            "model": described(self.model, model.fingerprint),
        }
        settings = {**asdict(cast(Any, self._mark)), "user": self.user}
        if (trained := settings.get("trained")) is not None:
            settings["trained"] = trained.name
            known["trained"] = described(trained, file_hash(trained))
        return self.open_run("protect", f"fingerprint-{self._mark.name}", settings, known, seed=self.seed)


def _report(found: "MarkedPictures", folder: Path, given_back: Path) -> None:
    """Print a line a picture, and write the report."""
    from intaglio.report import write_report

    head = ("picture", "p", "right bits", "PSNR", "prompt")
    rows = [
        (
            one.saved,
            short_number(one.p),
            "-" if one.bits is None else f"{one.bits:.0%}",
            short_number(one.psnr),
            one.prompt or "-",
        )
        for one in found.pictures[:MOST_ROWS]
    ]
    say(aligned([head, *rows]))
    if (left := len(found.pictures) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'marked.csv'}")
    say()
    say(f"{found.statement} They are in {given_back}.")
    say(str(write_report(folder)))
