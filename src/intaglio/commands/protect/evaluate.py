"""`intaglio protect evaluate`: how much of a protection is left after each purifier."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from intaglio.commands.kit.cluster_inputs import OnCluster
from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, described, embedded_model
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.adapt.family import FineTuner
    from intaglio.images.image_set import ImageSet
    from intaglio.metrics.similarity.measures import Embedding
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.protect.imitation import Imitator
    from intaglio.protect.purify.family import Purifier
    from intaglio.protect.robustness import Robustness
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan


@dataclass(frozen=True, kw_only=True)
class ProtectEvaluate(OnCluster, DryRun, InRun):
    """Measure what is left of a protection: fine-tunes on clean and on protected pictures, after each purifier.

    Both kinds are cleaned alike and tuned with equal seeds; net protection is how much less like the originals the
    pictures of the fine-tune on protected ones are. The same command again goes on after the last fine-tune.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images", "protected", "controls")
    images: Path
    """Folder of the original pictures."""
    protected: Path
    """Folder of the same pictures, protected: the same names, or with .png in place of a suffix that loses."""
    model: Path | None = None
    """The imitator's base: a diffusers folder or a single .safetensors file; none takes the embedded testbed."""
    like: Path | None = None
    """A diffusers folder that gives the base what it lacks, such as the tokenizer of a single file."""
    purifying_model: Path | None = None
    """The model of purifiers that use one, to purify with another than the imitator's."""
    prompt: str = "sks style"
    """Prompt of pictures without captions, in the fine-tunes and of what they draw. A caption is the .txt beside a
    picture of --images."""
    tuner: Literal["lora", "dreambooth"] = "lora"
    """Method of the imitator's fine-tunes."""
    tuning_steps: int = 250
    """Steps of each fine-tune, from 1."""
    tuning_rate: float | None = None
    """Learning rate, above 0; none takes 1e-4 for lora and 5e-6 for dreambooth, or 4e-3 and 2e-4 on the embedded
    testbed."""
    purifiers: tuple[str, ...] = ("none", "jpeg-75", "resize", "blur", "noise", "tv", "diffuse", "noisy-upscale")
    """Ways to clean the pictures: none, jpeg-90, jpeg-75, jpeg-50, resize, blur, median, noise, tv, ddsp,
    round-trip, diffuse, noisy-upscale."""
    transformations: tuple[str, ...] = ()
    """What the change was trained to survive (jpeg, resize, blur, noise, crop), so that the verdict rests on other
    purifiers; none takes what the run that --protected lies in has on record."""
    shares: tuple[float, ...] = (1.0,)
    """Shares of the pictures that are protected, in (0, 1]; others are taught as they are."""
    seeds: int = 3
    """Fine-tunes of each kind, from 1; the verdict rests on their spread."""
    drawn: int = 20
    """Pictures drawn by each fine-tune, from 1."""
    controls: Path | None = None
    """Folder of pictures like --images that no fine-tune sees, to ask whether an audit still finds the originals in
    a fine-tune on protected pictures; none leaves that out."""
    similarity: str = "latents"
    """Measure of the likeness: latents (correlation of the base's own latents, which sees texture), embedded (the
    encoder that ships, which sees the subject), or the path of a local encoder. A TorchScript file is a program, and
    is run only where all it can do is compute."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tuning_steps", "seeds", "drawn"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.tuning_rate is not None and not 0 < self.tuning_rate < float("inf"):
            raise ValueError(f"tuning_rate must be above 0, not {self.tuning_rate}")
        if not self.purifiers:
            raise ValueError("purifiers must name at least one, such as none")
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"shares must lie above 0 and at most at 1, not {self.shares}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.models.diffusion.loading import load_model
        from intaglio.protect.purifiers import PURIFIERS
        from intaglio.protect.robustness import Robustness
        from intaglio.protect.transformations import TRANSFORMATIONS

        if unknown := [name for name in self.transformations if name not in TRANSFORMATIONS]:
            raise BadInput(f"there is no transformation {unknown[0]!r}; choose from: {', '.join(TRANSFORMATIONS)}")
        if unknown := [name for name in self.purifiers if name not in PURIFIERS]:
            raise BadInput(f"there is no purifier {unknown[0]!r}; choose from: {', '.join(PURIFIERS)}")
        imitator = self._imitator()
        originals, protected = self._pictures(imitator.model)
        if imitator.others is not None and (same := set(imitator.others.hashes) & set(originals.hashes)):
            raise BadInput(f"{len(same)} of --controls are among --images; give pictures that no fine-tune has seen")
        other = None if self.purifying_model is None else load_model(self.purifying_model, device=self.device)
        inputs = self._inputs(imitator, originals, protected, other)
        if self.dry_run and self.ends_with(self._plan(imitator, originals, other)):
            return 0
        with self.open_run("protect", f"evaluate-{self.tuner}", self._settings(), inputs, seed=0) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                for warning in (*imitator.model.notes, *(other.notes if other else ()), *originals.warnings):
                    run.warn(warning)
                self.begin(run, self._plan(imitator, originals, other))
                self.say_spread(run)
                with self.spread():
                    found = self._evaluated(imitator, originals, protected, other, run)
                found.save(folder)
                run.finish(found.figures(), ("robustness.json", "purifiers.csv"))
        _report(cast("Robustness", Robustness.load(folder)), folder)
        return 0

    @property
    def _purifiers(self) -> "list[Purifier]":
        from intaglio.protect.purifiers import PURIFIERS

        return [PURIFIERS[name] for name in dict.fromkeys(self.purifiers)]

    def _plan(self, imitator: "Imitator", originals: "ImageSet", other: "LatentDiffusion | None") -> "TimePlan":
        from intaglio.protect.evaluation_plan import evaluation_plan

        counts = {"shares": len(set(self.shares)), "seeds": self.seeds}
        return evaluation_plan(imitator, originals, self._purifiers, purifying_model=other, **counts)

    def _evaluated(
        self,
        imitator: "Imitator",
        originals: "ImageSet",
        protected: "ImageSet",
        other: "LatentDiffusion | None",
        run: "Run",
    ) -> "Robustness":
        from intaglio.protect.robustness import evaluate

        return evaluate(
            imitator,
            originals,
            protected.pixels,
            self._purifiers,
            purifying_model=other,
            shares=tuple(dict.fromkeys(sorted(self.shares, reverse=True))),
            seeds=range(self.seeds),
            seen=self._seen(),
            run=run,
        )

    def _imitator(self) -> "Imitator":
        from intaglio.images.image_set import ImageSet
        from intaglio.models.diffusion.loading import load_model
        from intaglio.protect.imitation import Imitator

        model = load_model(self.model or embedded_model(), like=self.like, device=self.device)
        others = None if self.controls is None else ImageSet.load(self.controls, model.resolution)
        return Imitator(model, self._tuner(), self.prompt, self._likeness(model), drawn=self.drawn, others=others)

    def _likeness(self, model: "LatentDiffusion") -> "Embedding":
        from intaglio.metrics.similarity.measures import Embedding, load_similarity
        from intaglio.protect.latent_similarity import latent_similarity

        if self.similarity == "latents":
            return latent_similarity(model)
        found = load_similarity(self.similarity, self.device)
        if not isinstance(found, Embedding):
            raise BadInput(f"--similarity {self.similarity} has no descriptors to compare by; give an encoder")
        return found

    def _seen(self) -> tuple[str, ...]:
        """The purifiers that the change was trained to survive, as is said here or in the run of --protected."""
        from intaglio.protect.result import ProtectionResult
        from intaglio.protect.transformations import TRANSFORMATIONS, seen_purifiers

        made = None if self.transformations else ProtectionResult.load(self.protected.resolve().parent)
        names = self.transformations if made is None else made.transformations
        return seen_purifiers([name for name in names if name in TRANSFORMATIONS])

    def _tuner(self) -> "FineTuner":
        from intaglio.adapt.low_rank_tuning import FURTHER_TARGETS
        from intaglio.adapt.methods.dreambooth import DreamBooth
        from intaglio.adapt.methods.lora import LoRATuning
        from intaglio.models.lora.lora import DENOISER_TARGETS

        small = self.model is None
        if self.tuner == "dreambooth":
            rate = self.tuning_rate or (2e-4 if small else 5e-6)
            return DreamBooth(steps=self.tuning_steps, batch=4, learning_rate=rate)
        rate, targets = self.tuning_rate or (4e-3 if small else 1e-4), (*DENOISER_TARGETS, *FURTHER_TARGETS)
        return LoRATuning(steps=self.tuning_steps, batch=4, learning_rate=rate, rank=8, targets=targets)

    def _pictures(self, model: "LatentDiffusion") -> "tuple[ImageSet, ImageSet]":
        """The originals and the protected pictures, in one order."""
        from intaglio.images.image_set import ImageSet

        originals, protected = (ImageSet.load(path, model.resolution) for path in (self.images, self.protected))
        places = {Path(name).with_suffix("").as_posix(): k for k, name in enumerate(protected.names)}
        places |= {name: k for k, name in enumerate(protected.names)}
        stems = {name: Path(name).with_suffix("").as_posix() for name in originals.names}
        if missing := [name for name, stem in stems.items() if name not in places and stem not in places]:
            raise BadInput(
                f"{self.protected} lacks {', '.join(missing[:5])}; give the folder that the pictures came back in"
            )
        return originals, protected[[places.get(name, places.get(stem, 0)) for name, stem in stems.items()]]

    def _settings(self) -> dict[str, Any]:
        names = ("prompt", "tuning_steps", "tuning_rate", "purifiers", "shares", "seeds", "drawn", "similarity")
        return {name: getattr(self, name) for name in names} | {"tuner": asdict(self._tuner()), "seen": self._seen()}

    def _inputs(
        self, imitator: "Imitator", originals: "ImageSet", protected: "ImageSet", other: "LatentDiffusion | None"
    ) -> dict[str, Any]:
        known = {
            "model": described(self.model, imitator.model.fingerprint),
            "images": described(self.images, originals.fingerprint),
            "protected": described(self.protected, protected.fingerprint),
            "similarity": described(self.similarity, imitator.similarity.hash),
        }
        if imitator.others is not None:
            known["controls"] = described(self.controls, imitator.others.fingerprint)
        return (
            known if other is None else {**known, "purifying_model": described(self.purifying_model, other.fingerprint)}
        )


def _report(found: "Robustness", folder: Path) -> None:
    """Print a line a purifier, the worst first, and write the report."""
    from intaglio.report import write_report

    head = ("purifier", "share", "clean", "protected", "net protection", "survives")
    rows = [
        (
            one.purifier,
            f"{one.share:g}",
            f"{sum(one.clean) / len(one.clean):.3f}",
            f"{sum(one.protected) / len(one.protected):.3f}",
            f"{one.net:+.3f}",
            ("yes" if one.survives else "no") + (", trained on" if one.purifier in found.seen else ""),
        )
        for one in found.rows_by_net
    ]
    say(aligned([head, *rows]))
    say()
    say(found.statement)
    if (about := found.about_membership) is not None:
        say(about)
    say(str(write_report(folder)))
