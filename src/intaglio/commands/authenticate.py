"""`intaglio authenticate METHOD`: membership of pictures in a fine-tuning set, with a false-positive rate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.cluster_inputs import OnCluster
from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import said_idle, said_idle_like
from intaglio.commands.kit.inputs import ReadsPictures, SuspectAndBase, described, short_number
from intaglio.commands.kit.source_settings import class_variable, load
from intaglio.errors import BadInput
from intaglio.metrics.statistics.enough_controls import Sides, check_controls
from intaglio.printable import aligned
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from intaglio.audit.membership.family import AuditInputs, Authenticator
    from intaglio.audit.membership.pictures import AuditPictures
    from intaglio.audit.membership.result import AuditResult
    from intaglio.audit.membership.shadows import Shadows
    from intaglio.commands.kit.energy_lines import EnergyLine
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.metrics.similarity.measures import Similarity
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan

M = TypeVar("M")
SPARING = ("micro_batch",)
"""Settings that decide on memory and not on the result, which the methods beside the named one take over from it."""


@dataclass(frozen=True, kw_only=True)
class Authenticate(DryRun, OnCluster, SuspectAndBase, ReadsPictures, Generic[M]):
    """Tell which pictures were in a fine-tuning set, with a false-positive rate.

    The rate comes from the controls: pictures of the same kind that cannot have been in the set. The same command
    again resumes one that was killed.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images", "controls", "known_holdouts")
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The questioned pictures: a folder or a file."""
    controls: Path
    """Folder of pictures of the same kind that cannot have been in the set; 19 are needed for a rate of 5%, 39
    where scores to both sides of theirs count, as those of secmi."""
    alone: bool = False
    """Use the suspect alone, without its base; for methods that can."""
    known_holdouts: Path | None = None
    """To measure the audit itself: pictures that were not in the set, where all of --images were."""
    prompt: str = ""
    """Assumed prompt of the fine-tune, such as "a photo of sks dog"; both models are given it."""
    own_captions: bool = False
    """Ask about each picture, controls too, under its own caption, as of the .txt file beside it; every picture needs
    one then."""
    other_prompts: tuple[str, ...] = ()
    """Further prompts, "" among them, under which the verdict is computed again: the report shows how far it depends
    on the prompt. The verdict itself stays that of --prompt."""
    boxes: Path | None = None
    """Crop boxes of questioned pictures: a CSV of name,left,top,right,bottom in pixels. A picture without one is
    cropped to its centre square."""
    fpr: float = 0.05
    """False-positive rate asked for, in (0, 1): the largest share of pictures outside the set that is called."""
    signals: tuple[str, ...] = ()
    """Signals of the verdict: `score`, the method's own; one of its signals; or another method, run with its
    defaults. Several are combined. None takes the method's own score, or `update-alignment` for a method whose
    pictures are the evidence and whose score is weaker."""
    shadows: tuple[Path, ...] = ()
    """Runs of fine-tunes of the suspect's recipe on halves of known pictures (`intaglio finetune ... --half`), or
    folders that hold them; for methods that compare the suspect with such shadow models."""
    similarity: str = "ssim"
    """Similarity of a recovery and its original: ssim, embedded, or the path of a local encoder. A TorchScript file is
    a program, and is run only where all it can do is compute."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1, not {self.fpr}")

    def check_early(self) -> None:
        """Raises `BadInput` for shadow models that no method of this audit needs, or that are missing or too few."""
        from intaglio.audit.membership import shadow_runs

        needing = [name for name, target in self._asked.items() if class_variable(target, "needs_shadows")]
        if needing and not self.shadows:
            raise BadInput(f"{needing[0]} {shadow_runs.NEEDS_SHADOWS}")
        if self.shadows and not needing:
            raise BadInput(f"{next(iter(self._asked))} {shadow_runs.NO_USE_FOR_SHADOWS}")
        count = len(shadow_runs.shadow_runs(self.shadows))
        for name in needing:
            usual = (class_variable(self._asked[name], about) for about in ("fewest_shadows", "usual_shadows"))
            shadow_runs.check_shadow_count(name, count, *usual)

    @cached_property
    def _asked(self) -> dict[str, str]:
        """The sources of the method and of those signals that are methods, by name, without torch."""
        methods, kind = VERBS["authenticate"].methods, type(self.method)
        own = f"{kind.__module__}:{kind.__name__}"
        name = next((name for name, method in methods.items() if method.target == own), own.rpartition(".")[2])
        return {name: own} | {name: methods[name].target for name in self.signals if name in methods}

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for too few controls for the rate that is asked for, and for captions that are missing."""
        check_controls(len(listed["controls"].entries), self.fpr, sides=self._sides)
        for flag, listing in listed.items() if self.own_captions else ():
            if without := [entry.name for entry in listing.entries if not (entry.caption or "").strip()]:
                raise BadInput(
                    f"--own-captions needs a caption for every picture, and {without[0]} of --{flag.replace('_', '-')} "
                    "has none; put a text file of its name beside it, or give one --prompt for all"
                )

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.membership.audit import check_pool
        from intaglio.audit.membership.family import AuditInputs, check_captions
        from intaglio.audit.membership.pictures import AuditPictures, likenesses
        from intaglio.audit.membership.result import AuditResult

        self._check_alone()
        self._check_prompts()
        similarity = self._similarity()
        suspect, base = self.load_models()
        questioned, controls, holdouts = sets = self._pictures(base)
        pictures = AuditPictures.of(questioned, controls, holdouts)
        for method in (self._method, *self._companions.values()):
            for part in sets if self.own_captions else ():
                if part is not None:
                    check_captions(method, self.prompt, part)
        check_controls(len(pictures.of_role("controls")), self.fpr, sides=self._sides)  # equal ones count once
        shadows = self._shadows(suspect, base)
        compared = None if self.alone else base
        inputs = AuditInputs(suspect, compared, self.prompt, similarity, self.own_captions, shadows)
        check_pool((self._method, *self._companions.values()), inputs, pictures)
        if self.dry_run and self.ends_with(self._plan(inputs, pictures), self._energy(inputs, len(pictures.images))):
            return 0
        with self._open(inputs, sets, base) as run:
            if run.status != "done":
                read = [warning for part in sets if part is not None for warning in part.warnings]
                about = dict.fromkeys((*suspect.notes, *base.notes))
                idle = (*self._idle(similarity), *said_idle_like(self.like, base))
                for warning in (*idle, *read, *about, *likenesses(questioned, controls, holdouts)):
                    run.warn(warning)
                energy = self._energy(inputs, len(pictures.images))
                self.begin(run, self._plan(inputs, pictures), energy)
                self.say_spread(run)
                with self.spread():
                    self._audit(inputs, pictures, run, {} if energy is None else energy.summary)
            for method in (self._method, *self._companions.values()):
                method.forget(run, len(pictures.images))
        folder = Path(run.folder or ".")
        _report(cast(AuditResult, AuditResult.load(folder)), folder)
        return 0

    def _check_alone(self) -> None:
        """Raises `BadInput` where --alone is given to a method, or a signal, that needs the base."""
        methods = (self._method, *self._companions.values())
        if self.alone and (comparing := [method.name for method in methods if method.needs_base]):
            raise BadInput(
                f"{comparing[0]} compares the suspect with its base; leave --alone out, or take another method"
            )

    def _check_prompts(self) -> None:
        """Raises `BadInput` for prompts that the method, or a signal, cannot be asked under; before models are read."""
        from intaglio.audit.membership.family import check_captions

        for method in (self._method, *self._companions.values()):
            if self.own_captions and method.own_captions == "refused":
                remedy = "it out of --signals" if method.name in self.signals else "--own-captions out"
                raise BadInput(f"{method.name} takes one prompt for all pictures; leave {remedy}")
            if self.other_prompts and method.own_captions == "needed":
                raise BadInput(f"{method.name} asks under each picture's own caption; leave --other-prompts out")
            if method.own_captions == "needed" and not self.own_captions:
                check_captions(method, self.prompt, None)

    @property
    def _prompt_count(self) -> int:
        """The prompts that everything is measured under: the audit's own, or the captions, and each further one."""
        own = () if self.own_captions else (self.prompt,)
        return 1 + len(set(self.other_prompts).difference(own))

    def _plan(self, inputs: "AuditInputs", pictures: "AuditPictures") -> "TimePlan":
        from intaglio.audit.membership.audit_plan import audit_plan

        methods = (self._method, *self._companions.values())
        return audit_plan(methods, inputs, len(pictures.images), self._prompt_count)

    def _energy(self, inputs: "AuditInputs", pictures: int) -> "EnergyLine | None":
        """The estimate of all that the methods may ask of the models; None too where one does not say what it asks."""
        from intaglio.commands.kit.audit_energy import audit_work, is_told
        from intaglio.commands.kit.energy_lines import energy_line

        methods = (self._method, *self._companions.values())
        if not is_told(methods):
            return None
        prompts = self._prompt_count
        return energy_line(self.device, lambda: audit_work(methods, inputs, pictures, prompts), at_most=True)

    def _audit(self, inputs: "AuditInputs", pictures: Any, run: "Run", energy: Mapping[str, Any]) -> None:
        from intaglio.audit.membership.audit import run_audit

        found = run_audit(
            self._method,
            inputs,
            pictures,
            fpr=self.fpr,
            signals=self._signals,
            companions=self._companions,
            other_prompts=self.other_prompts,
            run=run,
        )
        for warning in found.warnings:
            run.warn(warning)
        found.save(Path(run.folder or "."))
        run.finish({**found.figures(), **energy}, ("verdict.json", "scores.csv", "images"))

    def _shadows(self, suspect: "LatentDiffusion", base: "LatentDiffusion") -> "Shadows | None":
        """The shadow models, which fit the base and are neither it nor the suspect; None where none are given."""
        from intaglio.audit.membership.shadow_runs import shadow_runs
        from intaglio.audit.membership.shadows import Shadows

        if not self.shadows:
            return None
        found = Shadows.read(shadow_runs(self.shadows), base, self.device)
        found.check_models(suspect, base)
        return found

    def _similarity(self) -> "Similarity | None":
        """The similarity, where a method that is run uses one."""
        from intaglio.metrics.similarity.measures import load_similarity

        wanted = any(method.uses_similarity for method in (self._method, *self._companions.values()))
        return load_similarity(self.similarity, self.device) if wanted else None

    def _idle(self, similarity: "Similarity | None") -> list[str]:
        """Warnings of flags that no method of this audit uses."""
        if similarity is not None:
            return []
        names = ", ".join(method.name for method in (self._method, *self._companions.values()))
        return said_idle(self, ("similarity",), f"{names} judges without comparing pictures")

    def _pictures(self, base: "LatentDiffusion") -> "tuple[ImageSet, ImageSet, ImageSet | None]":
        """Questioned pictures, controls, known holdouts."""
        holdouts = None if self.known_holdouts is None else self.load_pictures(self.known_holdouts, base.resolution)
        questioned = self.load_pictures(self.images, base.resolution, boxes=self._boxes())
        return questioned, self.load_pictures(self.controls, base.resolution), holdouts

    def _boxes(self) -> dict[str, tuple[int, int, int, int]]:
        from intaglio.images.crop_boxes import read_boxes

        return {} if self.boxes is None else read_boxes(self.boxes)

    def _open(self, inputs: "AuditInputs", sets: "tuple[ImageSet | None, ...]", base: "LatentDiffusion") -> "Run":
        known = self.model_inputs(inputs.suspect, base)
        known["autoencoder"] = described(self.base, base.part_fingerprint("autoencoder"))
        paths = {"images": self.images, "controls": self.controls, "known_holdouts": self.known_holdouts}
        for (name, path), part in zip(paths.items(), sets, strict=True):
            if part is not None:
                known[name] = described(path, part.fingerprint)
        if inputs.similarity is not None:
            known["similarity"] = described(self.similarity, inputs.similarity.hash)
        if inputs.shadows is not None:
            known["shadows"] = described(", ".join(map(str, self.shadows)), inputs.shadows.fingerprint)
        both = [name for name in self._signals if self._companions.get(name, self._method).sides == "both"]
        own = {
            "prompt": self.prompt,
            "fpr": self.fpr,
            "signals": list(self._signals),
            "other_prompts": list(self.other_prompts),
            "boxes": self._boxes(),
            **({"alone": True} if self.alone else {}),
            **({"two_sided": both} if both else {}),
        }
        if self.own_captions:
            own["own_captions"] = [part.captions_hash for part in sets if part is not None]
        settings = {**asdict(cast(Any, self.method)), **own}
        return self.open_run("authenticate", self._method.name, settings, known, seed=settings.get("seed"))

    @property
    def _method(self) -> "Authenticator":
        return cast("Authenticator", self.method)

    @cached_property
    def _sides(self) -> Sides:
        """The sides of the verdict's score, read from the sources of methods, so that it takes no torch.

        Several signals are combined to one whose high values alone count.
        """
        methods, kind = VERBS["authenticate"].methods, type(self.method)
        own = f"{kind.__module__}:{kind.__name__}"
        names = {"score" if name in methods and methods[name].target == own else name for name in self.signals}
        if len(names) > 1 or not (names or class_variable(own, "judges")):
            return "upper"
        name = next(iter(names), "score")
        return cast(Sides, class_variable(methods[name].target if name in methods else own, "sides"))

    @cached_property
    def _signals(self) -> tuple[str, ...]:
        from intaglio.audit.membership.audit import verdict_signals

        return verdict_signals(self._method, self.signals)

    @cached_property
    def _companions(self) -> "dict[str, Authenticator]":
        """The other methods whose scores the verdict rests on, with their defaults but for what spares memory."""
        from intaglio.audit.membership.audit import check_signals

        methods = VERBS["authenticate"].methods
        kinds = {
            name: load(methods[name].target) for name in check_signals(self._method, self._signals, tuple(methods))
        }
        return {name: kind(**self._sparing(kind)) for name, kind in kinds.items()}

    def _sparing(self, kind: type) -> dict[str, Any]:
        """The settings for want of memory that this method was given, of those that a kind of method has too."""
        own = {field.name for field in fields(kind)} & {field.name for field in fields(cast(Any, self.method))}
        return {name: getattr(self.method, name) for name in SPARING if name in own}


def _report(found: "AuditResult", folder: Path) -> None:
    """Print the verdicts, those that speak most for the set first, and write the report."""
    from intaglio.report import write_report

    rows = found.ranked(found.questioned)
    cells = [(one.shown_name, short_number(one.score), short_number(one.p_value), one.words) for one in rows]
    say(aligned([("picture", "score", "p", "verdict"), *cells]))
    say()
    say(found.statement)
    if found.no_signal:
        say(f"no signal: {found.no_signal}")
    say(str(write_report(folder)))
