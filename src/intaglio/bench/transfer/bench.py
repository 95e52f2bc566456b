"""`intaglio bench transfer`: classes in an environment that was not learnt from, planted and of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.kit.methods import default_methods
from intaglio.bench.transfer.drawn_kinds import drawn_kinds
from intaglio.bench.transfer.planted_shift import TARGET, PlantedShift, planted_shift
from intaglio.causal.transfer.environment_rows import held_out
from intaglio.causal.transfer.family import EnvironmentTransfer
from intaglio.causal.transfer.latent_agreement import weak_mcc
from intaglio.causal.transfer.result import ZERO, TransferPredictions
from intaglio.explain.probe_scores import balanced_accuracy, balanced_interval, difference_interval
from intaglio.files import file_hash
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "causal transfer"
PLANTED = "planted"
FEATURES = ("classifier", "pixels")
COUNT = 300
"""Planted rows of an environment."""
LABELLED = 20
CORE, POOLED = "gcrl", "erm"
PUBLISHED = "gcrl-published"
"""The method as its source has it: encoder of Z without S, a mixture of no assigned rows."""
SIZES = {"invariant": 2, "variant": 1, "numbers": 3, "hidden": 0, "rate": 0.02}
"""Of the planted rows: as many numbers as there are causes, and linear functions, for every method."""
ALIKE = {"labelled": LABELLED, "checks": False}
Settings = Mapping[str, EnvironmentTransfer]


@dataclass(frozen=True, kw_only=True)
class TransferBench:
    """Classes in an unseen environment: planted causes that move, and an artist's pictures.

    Planted: outcomes are of Z, features of Z and S, and S is far away in the target; `best` is the exact posterior that
    knows where S is, `best_known` the one that takes it from the known environments. Pictures: their kind (face,
    person, other) in the drawings of one artist, learnt from the other three. Zero-shot, with the target's rows, and
    with 20 of its outcomes. `right` is the mean over classes of the share of rows that is right, of the same rows at
    each stage, with its 95% interval; `ahead` is the difference to `erm` at the same stage, paired over rows. `mcc_z`
    and `mcc_s` are weak mean correlations with the planted causes.
    """

    quick: bool = False
    """Two planted draws, and pictures of one held-out artist by one kind of features; some four minutes."""
    draws: int = 4
    """Planted draws, 1 to 100, with --quick at most 2."""
    seed: int = 0
    """Of draws, weights and batches, from 0."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 1 <= self.draws <= 100:
            raise ValueError(f"draws must be 1 to 100, not {self.draws}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        draws = min(self.draws, 2) if self.quick else self.draws
        by_scene = {
            PLANTED: with_published(default_methods(VERB, seed=self.seed, **ALIKE, **SIZES)),
            "pictures": with_published(default_methods(VERB, seed=self.seed, **ALIKE)),
        }
        settings = {name: {key: asdict(one) for key, one in some.items()} for name, some in by_scene.items()}
        settings |= {"draws": draws, "quick": self.quick}
        inputs = {"classifier": {"path": "testbed", "sha256": file_hash(testbed.classifier_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "transfer", {**settings, "seed": self.seed}, inputs, **about) as run:
            if run.status != "done":
                self._measure(by_scene, draws, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("scene", "method", "stage", "right", "ahead of erm", "causes")
        lines = [
            (
                scene,
                method,
                stage,
                "{:.3f} ({:.3f} to {:.3f})".format(one["right"], *one["interval"]),
                ""
                if "ahead" not in one
                else "{:+.3f} ({:+.3f} to {:+.3f})".format(one["ahead"], *one["ahead_interval"]),
                "" if "mcc_z" not in found else f"Z {found['mcc_z']:.2f}, S {found['mcc_s']:.2f}",
            )
            for scene, methods in figures["rows"].items()
            for method, found in methods.items()
            for stage, one in found["stages"].items()
        ]
        best = f"planted: best {figures['best']:.3f}, best by the known environments {figures['best_known']:.3f}"
        return f"{aligned([head, *lines])}\n{best}"

    def _measure(self, by_scene: Mapping[str, Settings], draws: int, run: Run) -> None:
        asked = [(PLANTED, str(number), name) for number in range(draws) for name in by_scene[PLANTED]]
        features = FEATURES[-1:] if self.quick else FEATURES
        pictures = drawn_kinds(self.seed)
        artists = ("noto",) if self.quick else sorted(set(pictures[FEATURES[0]].environments))
        asked += [(one, artist, name) for one in features for artist in artists for name in by_scene["pictures"]]
        left = [row for row in asked if " ".join(row) not in run.recorded("row")]
        with run.progress(len(asked), "rows", len(asked) - len(left)) as progress:
            for scene, part, name in left:
                if scene == PLANTED:
                    found = of_planted(by_scene[PLANTED][name], planted_shift(COUNT, self.seed + int(part)))
                else:
                    found = answers_of(by_scene["pictures"][name](pictures[scene], part))
                run.record("row", f"{scene} {part} {name}", found)
                progress.advance()


def with_published(methods: Settings) -> dict[str, EnvironmentTransfer]:
    """The methods, and the core one as its source has it."""
    published: Mapping[str, Any] = {"chained": False, "components": 5}
    return {**methods, PUBLISHED: replace(methods[CORE], **published)}


def answers_of(found: TransferPredictions) -> dict[str, Any]:
    """Classes of the judged rows, and those that were said at each stage."""
    said = {stage: one.argmax(1)[found.judged].tolist() for stage, one in found.stages.items()}
    return {"truth": found.truth[found.judged].tolist(), "said": said}


def of_planted(method: EnvironmentTransfer, planted: PlantedShift) -> dict[str, Any]:
    """The answers, how far the planted causes are found, and how often the exact posteriors are right."""
    found = method(planted.rows, TARGET)
    target, known = np.flatnonzero(~planted.known), planted.known
    judged = target[found.judged]
    others = sorted(set(planted.rows.environments) - {TARGET})
    more: dict[str, Any] = {"best": planted.best([TARGET], judged), "best_known": planted.best(others, judged)}
    task = held_out(planted.rows, TARGET)
    asked = method.network(task.rows.features.shape[1], len(task.classes), len(task.environments))
    if asked.latents(task.rows.features[:1]):
        latents = method.trained(task).latents(task.rows.features)
        z, s = (latents[name].double().numpy() for name in ("Z", "S"))
        means = [float(s[np.array(planted.rows.environments)[known] == one].mean()) for one in others]
        more |= {"mcc_z": weak_mcc(planted.z[known], z), "mcc_s": weak_mcc(planted.s[known], s)}
        more["ordered"] = means in (sorted(means), sorted(means, reverse=True))
    return {**answers_of(found), **more}


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row by scene and method: parts of a scene are pooled."""
    pooled: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for key, found in recorded.items():
        scene, part, method = key.split(" ")
        named = [scene] if scene == PLANTED else [f"{scene} {part}", f"{scene} all"]
        for one in named:
            pooled.setdefault(one, {}).setdefault(method, []).append(found)
    pooled = {scene: some for scene, some in pooled.items() if not _only_part(scene, pooled)}
    rows = {scene: {name: _row(parts, some[POOLED]) for name, parts in some.items()} for scene, some in pooled.items()}
    flat = {
        f"{scene}_{name}_{stage}".replace(" ", "_").replace("-", "_"): one["right"]
        for scene, methods in rows.items()
        for name, row in methods.items()
        for stage, one in row["stages"].items()
    }
    best = {key: float(np.mean([one[key] for one in pooled[PLANTED][POOLED]])) for key in ("best", "best_known")}
    return {**flat, **best, "seconds": seconds, "machine": machine(), "versions": versions(), "rows": rows}


def _only_part(scene: str, pooled: Mapping[str, Any]) -> bool:
    """Whether a scene of all artists has one alone, which is there by its own name."""
    features, _, part = scene.partition(" ")
    return part == "all" and sum(one.startswith(f"{features} ") for one in pooled) == 2


def _row(parts: Sequence[Mapping[str, Any]], pooled: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy by stage, and its difference to the pooled classifier's at that stage, or at its last one before."""
    truth = np.concatenate([one["truth"] for one in parts])
    groups = np.arange(len(truth))
    stages: dict[str, dict[str, Any]] = {}
    for stage in parts[0]["said"]:
        mine = np.concatenate([one["said"][stage] for one in parts])
        stages[stage] = {
            "right": balanced_accuracy(truth, mine),
            "interval": list(balanced_interval(truth, mine, groups)),
        }
        if pooled is not parts:
            others = np.concatenate([one["said"].get(stage, one["said"][ZERO]) for one in pooled])
            ahead = stages[stage]["right"] - balanced_accuracy(truth, others)
            stages[stage] |= {"ahead": ahead, "ahead_interval": list(difference_interval(truth, mine, others, groups))}
    means = {
        key: float(np.mean([one[key] for one in parts])) for key in ("mcc_z", "mcc_s", "ordered") if key in parts[0]
    }
    return {"stages": stages, **means}
