"""Rows of trained parts: students of few steps, and starts, each trained in a run of its own beside the bench's."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.bench.kit.methods import default_method
from intaglio.distill.family import Distiller
from intaglio.distill.student_run import OwnPictures, distil, run_hashes, run_settings
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.plain_json import digest
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.fixed_sampling import settled
from intaglio.sampling.start import NoiseStart
from intaglio.sampling.starts.analytic import AnalyticStart, LatentMoments
from intaglio.sampling.starts.transport import TransportStart
from intaglio.sampling.trained.family import SamplingTrainer
from intaglio.sampling.trained_part import TrainedPart
from intaglio.verbs import VERBS

SCALE, FEW, STARTED = 4.0, (1, 2, 4, 8, 20), 8
"""Guidance scale of the rows, steps of the model itself beside its students, and steps of the rows by a start."""
OWN, OWN_SCALE = 512, 3.0
"""The model's own pictures that students are trained on, and their guidance scale, as `intaglio distill` has them."""
FROM_STEP = 800
"""Timestep at which the analytic start begins."""
QUICK: Mapping[str, Any] = {
    "steps": 10,
    "batch": 8,
    "halving_steps": 5,
    "states": 20,
    "rounds": 20,
    "pictures": 40,
    "updates": 20,
}
"""Settings of trainings with --quick, where they have these; their figures say that the bench runs, and no more."""
QUICK_OWN = 16


def trained_rows(
    students: Sequence[str], starts: Sequence[str], given: Sequence[Path] = ()
) -> dict[str, dict[str, Any]]:
    """Settings of the rows by name: the model in few steps, its students in theirs, those given, and by the starts."""
    scale = {"method": "plain", "guidance": SCALE}
    few = {f"plain guidance {SCALE:g} steps {steps}": {**scale, "steps": steps} for steps in FEW}
    found = few if students or starts or given else {}
    found |= {f"student {name}": {**scale, "student": name} for name in students}
    found |= {f"given {path.parent.name}/{path.name}": {**scale, "given": str(path)} for path in given}
    return found | {f"start {name} steps {STARTED}": {**scale, "steps": STARTED, "start": name} for name in starts}


@dataclass(frozen=True)
class TrainedParts:
    """Students and starts of the rows, trained where no run of before has them."""

    model: LatentDiffusion
    pictures: ImageSet
    """Pictures with captions: students and starts are trained for the captions, the analytic start for the pictures."""
    runs: Path
    quick: bool
    seed: int
    device: str
    progress: Show

    def student(self, name: str) -> tuple[LatentDiffusion, Calls]:
        """The student of a distiller, and the calls of its training."""
        distiller: Distiller = default_method("distill", name, seed=self.seed, **self._changes("distill", name))
        source = OwnPictures(self._captions, QUICK_OWN if self.quick else OWN, OWN_SCALE)
        hashes = run_hashes(self.model, source)
        with self._run("distill", name, run_settings(distiller, source), hashes) as run:
            if run.status != "done":
                distil(distiller, self.model, source, run)
            found = load_model((run.folder or Path()) / run.summary["model"], device=self.device)
            return found, Calls(**run.summary["calls"])

    def row_student(self, row: dict[str, Any]) -> tuple[LatentDiffusion, Calls]:
        """The student of a row, which names a distiller or a folder and loses that name; calls of a training here."""
        if "given" in row:
            return read_student(Path(row.pop("given")), self.device), Calls()
        return self.student(row.pop("student"))

    def start(self, name: str) -> NoiseStart:
        """The analytic start, or one that `intaglio sample train` makes."""
        if name == AnalyticStart.name:
            return AnalyticStart(LatentMoments.fit(self.model, self.pictures), FROM_STEP)
        return TransportStart.of(TrainedPart.load(self.part(name, scale=SCALE), name, self.model), self.model, None)

    def part(self, name: str, **settings: Any) -> Path:
        """The file of a part that `intaglio sample train` makes with these settings, for the captions."""
        changes = {**settings, **self._changes("sample train", name)}
        trainer: SamplingTrainer = default_method("sample train", name, seed=self.seed, **changes)
        hashes = {"model": self.model.fingerprint, "prompts": digest(list(self._captions))}
        with self._run("sample", f"train-{name}", asdict(trainer), hashes) as run:
            file = (run.folder or Path()) / f"{name}.safetensors"
            if run.status != "done":
                part = trainer(self.model, self._captions, run=run)
                part.save(file)
                run.finish({"part": file.name, "hash": part.hash, "facts": dict(part.facts)}, (file.name,))
            return file

    @property
    def _captions(self) -> tuple[str, ...]:
        return tuple(str(caption) for caption in self.pictures.captions or ())

    def _changes(self, verb: str, name: str) -> dict[str, Any]:
        """Settings other than the defaults."""
        own = getattr(default_method(verb, name), "bench", {})
        return {**own, **(QUICK if self.quick else {})}

    def _run(self, verb: str, method: str, settings: Mapping[str, Any], hashes: Mapping[str, str]) -> Run:
        inputs = {name: {"path": "testbed", "sha256": sha256} for name, sha256 in hashes.items()}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": (), "progress": self.progress}
        return Run.open(self.runs, verb, method, settings, inputs, **about)


def read_student(folder: Path, device: str) -> LatentDiffusion:
    """A student that `intaglio distill` has made. Raises `BadInput` for another model."""
    found = load_model(folder, device=device)
    if found.sampling == FREE:
        raise BadInput(f"{folder} is no student: it has no sampling.json of its steps; give one of `intaglio distill`")
    return found


def student_sampling(student: LatentDiffusion) -> tuple[int, float]:
    """Steps and guidance scale of a student's row: its own steps, and of its scales that next to the rows' own."""
    low, high = student.sampling.scales or (SCALE, SCALE)
    return settled(student, None, None, None).steps, min(max(SCALE, low), high)


def student_figures(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """KID of the model in few steps and of its students, `base_4step_kid` and `guided_4step_kid` for instance."""
    found = {}
    for row in rows.values():
        settings, nodes = row["settings"], round(row["calls"])
        if "student" in settings:
            name = settings["student"]
            found[f"{name}_{nodes}step_kid"], found[f"{name}_calls"] = row["kid"]["mean"], row["calls"]
        elif {**settings, "steps": None} == {"method": "plain", "guidance": SCALE, "steps": None}:
            found[f"base_{nodes // 2}step_kid"] = row["kid"]["mean"]
    return found


def all_students() -> tuple[str, ...]:
    """Names of all distillers."""
    return tuple(VERBS["distill"].methods)


def all_starts() -> tuple[str, ...]:
    """Names of the starts that rows are drawn by."""
    return AnalyticStart.name, *(name for name in VERBS["sample train"].methods if name == TransportStart.name)
