"""`intaglio bench directions`: how far a classifier's score moves along directions of the embedded denoiser."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.bench.directions.led_figures import led_figures, row_figures
from intaglio.bench.kit.methods import default_method
from intaglio.errors import BadInput
from intaglio.explain.directions.family import DirectionFinder, DirectionJudge
from intaglio.explain.directions.leading import lead_pictures, shown_seeds
from intaglio.files import file_hash
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.scored_network import classifier_score
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

VERB, HEAD = "explain directions", "artist"
SITES = ("mid_block", "up_blocks.0")
STRENGTHS, QUICK_STRENGTHS = (-4.0, -2.0, 2.0, 4.0), (-4.0, 4.0)
SAMPLES, PICTURES, COUNT = 300, 50, 3
QUICK_SAMPLES, QUICK_PICTURES, QUICK_COUNT = 64, 8, 2
QUICK_TARGETS = ("openmoji",)
QUICK_JACOBIAN = {"every": 10, "iterations": 5}


@dataclass(frozen=True, kw_only=True)
class DirectionsBench:
    """Directions of the embedded denoiser: how far a classifier's score of an artist moves along them.

    Pictures are drawn without a prompt, 20 steps of DDIM, and led by strengths of -4 to 4. `change` is the log-odds of
    the artist at 4 less that at -4, its interval of 95% by resampling pictures; `control` the size of the same along a
    random direction as long as the row's first. Of several directions, the one that moves every second picture
    farthest is measured on the others, as is its sign; `labelled` has one. `rank` is the rank correlation of strength
    and score of a picture, `trend` that of the mean score. `kept` is the similarity of the outermost pictures with the
    same ones led nowhere, `kept_control` that along the control.
    """

    quick: bool = False
    """One artist, 8 pictures at the outermost strengths alone, and 64 samples: minutes."""
    rows: tuple[str, ...] = ()
    """Rows to measure, such as "labelled mid_block"; none takes all."""
    seed: int = 0
    """Of drawings, samples and random directions, 0 to 2**32 - 1."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""
    device: str = "cpu"
    """Device to compute on, such as cpu, cuda or cuda:1."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be 0 to 2**32 - 1, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods = self._methods()
        model = load_model(testbed.base_path(), device=self.device)
        settings = {"methods": {name: asdict(one) for name, one in methods.items()}, "quick": self.quick}
        known = {
            "model": {"path": "testbed", "sha256": model.fingerprint},
            "classifier": {"path": "testbed", "sha256": file_hash(testbed.classifier_path())},
        }
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "directions", settings, known, **about) as run:
            if run.status != "done":
                self._measure(methods, model, run)
                run.finish(_figures(run))
                for method in methods.values():
                    method.forget(run, self._pictures)
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        lines: list[tuple[str, ...]] = [("row", "change", "95%", "control", "rank", "trend", "kept", "kept, control")]
        for name, row in figures["rows"].items():
            low, high = row["interval"]
            bounds = "-" if low is None else f"{low:.2f} to {high:.2f}"
            rest = (f"{row[key]:.2f}" for key in ("control", "rank", "trend", "kept", "kept_control"))
            lines.append((name, f"{row['change']:.2f}", bounds, *rest))
        return aligned(lines)

    @property
    def _pictures(self) -> int:
        return QUICK_PICTURES if self.quick else PICTURES

    def _methods(self) -> dict[str, DirectionFinder]:
        """Methods by the names of their rows, those of one site together, so that they share its walks.

        Raises `BadInput` for a row that there is not.
        """
        samples, count = (QUICK_SAMPLES, QUICK_COUNT) if self.quick else (SAMPLES, COUNT)
        changes = {"seed": self.seed, "samples": samples, "count": count, **(QUICK_JACOBIAN if self.quick else {})}
        found = {}
        for site in SITES:
            for name in VERBS[VERB].methods:
                method = default_method(VERB, name, site=site, **changes)
                found[f"{name} {site}" if method.place == site else name] = method
        if unknown := [name for name in self.rows if name not in found]:
            raise BadInput(f"there is no row called {unknown[0]!r}; choose from: {', '.join(found)}")
        asked = [one for one in found.items() if not self.rows or one[0] in self.rows]
        return dict(sorted(asked, key=lambda one: one[1].place))

    def _measure(self, methods: Mapping[str, DirectionFinder], model: LatentDiffusion, run: Run) -> None:
        left = [name for name in methods if name not in run.recorded("row")]
        with run.progress(len(methods), "rows", len(methods) - len(left)) as progress:
            for name in left:
                run.record("row", name, {"classes": self._row(methods[name], model, run)})
                progress.advance()

    def _row(self, method: DirectionFinder, model: LatentDiffusion, run: Run) -> list[dict[str, Any]]:
        """Figures of a row, by class."""
        classifier = testbed.classifier()
        targets = QUICK_TARGETS if self.quick else tuple(classifier.classes[HEAD])
        seeds, found = shown_seeds(self.seed, self._pictures), []
        for target in targets:
            scored, place = classifier_score(classifier, HEAD), classifier.classes[HEAD].index(target)

            def score(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
                with torch.no_grad():
                    return scored.score(pixels, place).cpu()  # noqa: B023 - called before the next class

            judge = DirectionJudge(target, {target: score})
            directions = method(model, [""], seeds=seeds, judge=judge, run=run)
            strengths = QUICK_STRENGTHS if self.quick else STRENGTHS
            options: dict[str, Any] = {"strengths": strengths, "similarity": load_similarity("embedded")}
            led = lead_pictures(model, directions, [""], seeds, judge=judge, seed=self.seed, **options)
            found.append(led_figures(led, chosen=directions.count > 1))
        return found


def _figures(run: Run) -> dict[str, Any]:
    """Headline figures, then every row."""
    rows = {name: row_figures(one["classes"]) for name, one in run.recorded("row").items()}
    headline = {
        f"{key}_{name.replace('-', '_').replace('.', '_').replace(' ', '_')}": row[key]
        for name, row in rows.items()
        for key in ("change", "kept")
    }
    return {**headline, "seconds": run.seconds, "machine": machine(), "versions": versions(), "rows": rows}
