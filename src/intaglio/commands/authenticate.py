"""`intaglio authenticate METHOD`: a suspect, its base and pictures in, verdicts with their error rate out."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import command_line, say, shown, table
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from intaglio.audit.membership.audit import Evidence
    from intaglio.audit.membership.family import Authenticator
    from intaglio.images.image_set import ImageSet
    from intaglio.metrics.similarity.measures import Similarity
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class Authenticate(Generic[M]):
    """Tell which pictures were in a fine-tuning set, with a false-positive rate.

    The rate comes from the controls: pictures of the same kind that cannot have been in the set. The same command
    again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    suspect: Path
    """The fine-tuned model: a diffusers folder, a folder with its U-Net, a .safetensors file, or a LoRA."""
    images: Path
    """The questioned pictures: a folder or a file."""
    controls: Path
    """Folder of pictures of the same kind that cannot have been in the set; 19 are needed for a rate of 5%."""
    base: Path | None = None
    """The model that the suspect was fine-tuned from; none takes the embedded testbed."""
    known_holdouts: Path | None = None
    """To measure the audit itself: pictures known not to be in the set, when --images are known to be in it."""
    prompt: str = ""
    """The prompt that the fine-tune is thought to have used, such as "a photo of sks dog"; both models get it."""
    other_prompts: tuple[str, ...] = ()
    """Further prompts, "" among them, under which the verdict is made again: the report says how far it hangs on the
    words. The verdict itself stays that of --prompt."""
    boxes: Path | None = None
    """Which part of each questioned picture counts: a CSV of name,left,top,right,bottom in pixels; where a picture has
    none, the centre square."""
    fpr: float = 0.05
    """The false-positive rate asked for: of pictures that were not in the set, at most this share is called."""
    signals: tuple[str, ...] = ()
    """What the verdict rests on: `score`, the method's own; one of its signals; or another method, run with its
    defaults. Several are combined. None takes `update-alignment` for cgi-dm, else the method's own score."""
    similarity: str = "ssim"
    """How alike a recovery and its original are: ssim, embedded, or the path of a local encoder."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""
    device: str = "cpu"
    """Where to compute, such as cpu, cuda or cuda:1."""
    base_device: str | None = None
    """Where the base computes, if not where the suspect does."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read, with a warning, in place of stopping."""

    def __post_init__(self):
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1, not {self.fpr}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.membership.audit import Evidence, check_signals, likenesses
        from intaglio.metrics.similarity.measures import load_similarity

        method: Any = self.method
        companions = self._companions()
        check_signals(method, self._signals, companions)
        called = [method, *(one for name, one in companions.items() if name in self._signals)]
        wanted = any(one.uses_similarity for one in called)
        similarity = load_similarity(self.similarity, self.device) if wanted else None
        base, suspect = self._models()
        questioned, controls, holdouts = self._pictures(base)
        evidence = Evidence.of(questioned, controls, holdouts)
        run = self._open(suspect, base, (questioned, controls, holdouts), similarity)
        with run:
            if run.status != "done":
                for part in (questioned, controls, holdouts):
                    for warning in part.warnings if part is not None else ():
                        run.warn(warning)
                for warning in (*suspect.notes, *likenesses(questioned, controls, holdouts)):
                    run.warn(warning)
                self._examine(suspect, base, evidence, companions, similarity, run)
            for one in called:
                one.forget(run, len(evidence.images))
        self._tell(Path(run.folder or "."))
        return 0

    def _models(self) -> "tuple[LatentDiffusion, LatentDiffusion]":
        from intaglio.models.diffusion.loading import load_model

        base = load_model(self.base or _testbed(), device=self.base_device or self.device)
        return base, load_model(self.suspect, like=base, device=self.device)

    def _pictures(self, base: "LatentDiffusion") -> "tuple[ImageSet, ImageSet, ImageSet | None]":
        from intaglio.images.image_set import ImageSet

        def load(folder: Path, **further: Any) -> ImageSet:
            return ImageSet.load(folder, base.resolution, skip_bad=self.skip_bad, **further)

        holdouts = None if self.known_holdouts is None else load(self.known_holdouts)
        return load(self.images, boxes=self._boxes()), load(self.controls), holdouts

    def _boxes(self) -> "dict[str, tuple[int, int, int, int]]":
        from intaglio.images.crop_boxes import read_boxes

        return {} if self.boxes is None else read_boxes(self.boxes)

    def _open(
        self,
        suspect: "LatentDiffusion",
        base: "LatentDiffusion",
        pictures: "tuple[ImageSet | None, ...]",
        similarity: "Similarity | None",
    ) -> "Run":
        from intaglio.runs.run import Run

        inputs = {
            "suspect": {"path": str(self.suspect), "sha256": suspect.fingerprint},
            "base": {"path": str(self.base or "testbed"), "sha256": base.fingerprint},
            "autoencoder": {"path": str(self.base or "testbed"), "sha256": base.part_fingerprint("autoencoder")},
        }
        paths = {"images": self.images, "controls": self.controls, "known_holdouts": self.known_holdouts}
        for (name, path), part in zip(paths.items(), pictures, strict=True):
            if part is not None:
                inputs[name] = {"path": str(path), "sha256": part.fingerprint}
        if similarity is not None:
            inputs["similarity"] = {"path": self.similarity, "sha256": similarity.hash}
        own = {
            "prompt": self.prompt,
            "fpr": self.fpr,
            "signals": list(self._signals),
            "other_prompts": list(self.other_prompts),
            "boxes": self._boxes(),
        }
        return Run.open(
            self.runs,
            "authenticate",
            self._method.name,
            {**asdict(cast(Any, self.method)), **own},
            inputs,
            seed=getattr(self.method, "seed", None),
            device=self.device,
            command=command_line(),
            progress=shown(),
        )

    def _examine(
        self,
        suspect: "LatentDiffusion",
        base: "LatentDiffusion",
        evidence: "Evidence",
        companions: "Mapping[str, Authenticator]",
        similarity: "Similarity | None",
        run: "Run",
    ) -> None:
        from intaglio.audit.membership.audit import examine

        found = examine(
            self._method,
            suspect,
            base,
            evidence,
            prompt=self.prompt,
            fpr=self.fpr,
            companions=companions,
            signals=self._signals,
            other_prompts=self.other_prompts,
            similarity=similarity,
            run=run,
        )
        found.write(run)
        verdict, known = found.verdict, found.separation
        run.finish(
            {
                "statement": verdict.statement,
                "pictures": len(verdict.rows),
                "called": sum(bool(row.called) for row in verdict.rows),
                "controls": verdict.threshold.controls,
                "auc": None if known is None else known.auc,
                "set_p_value": verdict.set_test.p_value,
            }
        )

    def _companions(self) -> "dict[str, Authenticator]":
        """Every other audit method with its defaults; only those among the signals are run."""
        from intaglio.commands.kit.source_settings import load

        entries = {name: entry.target for name, entry in VERBS["authenticate"].methods.items()}
        return {name: load(target)() for name, target in entries.items() if name != self._method.name}

    @property
    def _method(self) -> "Authenticator":
        method: Any = self.method
        return method

    @property
    def _signals(self) -> tuple[str, ...]:
        """Without the method's own name, which is its score."""
        signals = self.signals or self._method.verdict_signals
        return tuple(dict.fromkeys("score" if name == self._method.name else name for name in signals))

    def _tell(self, folder: Path) -> None:
        from intaglio.report import write_report

        verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
        rows = sorted(verdict["questioned"], key=lambda row: -math.inf if row["score"] is None else -row["score"])
        cells = [(row["name"], _number(row["score"]), _number(row["p_value"]), row["words"]) for row in rows]
        say(table([("picture", "score", "p", "verdict"), *cells]))
        say()
        say(verdict["statement"])
        if verdict["no_signal"]:
            say(f"no signal: {verdict['no_signal']}")
        say(str(write_report(folder)))


def _testbed() -> Path:
    from intaglio.models.testbed import base_path

    return base_path()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
