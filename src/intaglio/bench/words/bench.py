"""`intaglio bench words`: maps of the words of prompts, set beside what leaving each word out changes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.kit.methods import default_methods
from intaglio.errors import BadInput
from intaglio.explain.words.family import WordMapper
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain words"
TRUTH = "removal"
"""The row that leaves words out at all steps."""
ROLES = {"name": slice(0, -2), "artist": slice(-2, -1), "style": slice(-1, None)}
"""Places of a caption's words: the thing's name, its artist, and the word style."""
QUICK_PROMPTS = 8
TESTED = 10
"""Steps at which maps are tested, half of all."""


@dataclass(frozen=True, kw_only=True)
class WordsBench:
    """Maps of words: their rank correlation with the effect of leaving each word out.

    Prompts are captions of the base's own training pictures, `NAME, ARTIST style`, one picture each. `agreement` is
    Spearman's correlation of a word's map with where the predicted picture changes without the word, a mean over words
    and prompts; `others` that with the changes of the prompt's other words: a map that knows where the thing is, but
    not which word is meant, has both alike. `lead` is their difference. Intervals are of 95%, by resampling prompts.
    `removal` itself, at all steps in place of half of them, is the ceiling.
    """

    quick: bool = False
    """8 prompts: some minutes."""
    rows: tuple[str, ...] = ()
    """Methods to measure, such as cross-attention; none takes all."""
    prompts: int = 60
    """Prompts, at least 2, with --quick at most 8."""
    guidance: float = 5.0
    """Guidance scale of the drawn pictures, 0 or more."""
    seed: int = 0
    """Of the pictures, from 0."""
    device: str = "cpu"
    """Where the model computes, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.prompts < 2:
            raise ValueError(f"prompts must be at least 2, not {self.prompts}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        every: dict[str, WordMapper] = default_methods(VERB, seed=self.seed, guidance=self.guidance, tested=TESTED)
        if unknown := [name for name in self.rows if name not in every]:
            raise BadInput(f"there is no row called {unknown[0]!r}; choose from: {', '.join(every)}")
        methods = {name: one for name, one in every.items() if not self.rows or name in self.rows}
        count = min(self.prompts, QUICK_PROMPTS) if self.quick else self.prompts
        captions = [str(one) for one in testbed.real_pictures().captions or ()]
        prompts = captions[:: max(1, len(captions) // count)][:count]
        model = load_model(testbed.base_path(), device=self.device)
        settings = {"prompts": list(prompts), "methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {"model": {"path": "testbed", "sha256": model.fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "words", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, model, prompts, run)
                run.finish(figures_of(run.recorded("row"), list(methods), len(prompts), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", "agreement", "others", "lead", *ROLES)
        lines = [
            (
                name,
                f"{one['agreement']:.2f}",
                f"{one['others']:.2f}",
                "{:.2f} ({:.2f} to {:.2f})".format(one["lead"], *one["lead_interval"]),
                *(f"{one[role]:.2f}" for role in ROLES),
            )
            for name, one in figures["rows"].items()
        ]
        return aligned([head, *lines])

    def _measure(
        self, methods: Mapping[str, WordMapper], model: LatentDiffusion, prompts: Sequence[str], run: Run
    ) -> None:
        pieces = [(name, k) for name in methods for k in range(len(prompts))]
        left = [(name, k) for name, k in pieces if f"{name} {k}" not in run.recorded("row")]
        with run.progress(len(pieces), "prompts", len(pieces) - len(left)) as progress:
            for name, k in left:
                run.record("row", f"{name} {k}", measured(methods[name], model, prompts[k]))
                progress.advance()


def measured(method: WordMapper, model: LatentDiffusion, prompt: str) -> dict[str, Any]:
    """Correlations of one prompt's maps, of one picture."""
    found = method(model, prompt, 1)
    own = found.agreement[0]
    roles = {role: float(own[places].mean()) for role, places in ROLES.items()}
    return {"agreement": float(own.mean()), "others": float(found.with_other_words.mean()), **roles}


def figures_of(
    recorded: Mapping[str, Mapping[str, float]], methods: Sequence[str], prompts: int, seconds: float
) -> dict[str, Any]:
    """Headline figures, then every row."""
    rows = {name: _row([recorded[f"{name} {k}"] for k in range(prompts)]) for name in methods}
    headline = {
        f"{name.replace('-', '_')}_{key}": one[key] for name, one in rows.items() for key in ("agreement", "lead")
    }
    return {
        **headline,
        "prompts": prompts,
        "seconds": seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _row(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means over prompts; those of agreement and lead with their intervals."""
    columns = {key: np.array([one[key] for one in found]) for key in ("agreement", "others", *ROLES)}
    columns["lead"] = columns["agreement"] - columns["others"]
    bounds = {
        f"{key}_interval": list(interval(lambda drawn: drawn.mean(-1), [columns[key]])) for key in ("agreement", "lead")
    }
    return {**{key: float(values.mean()) for key, values in columns.items()}, **bounds}
