"""`intaglio bench bias`: how far edits even out the artists that the embedded model draws where no prompt names one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.bench.kit.methods import default_method
from intaglio.errors import BadInput
from intaglio.explain.bias.evening import drawn_pictures, evened_pictures, measured, shown_seeds
from intaglio.explain.bias.family import BiasEditor
from intaglio.explain.bias.result import PARTS, EvenedValues
from intaglio.explain.bias.value_judge import Seen, ValueJudge
from intaglio.files import file_hash
from intaglio.metrics.similarity.measures import Similarity, load_similarity
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.scored_network import classifier_score
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.site_edit import drawn_values
from intaglio.verbs import VERBS

VERB, HEAD, NAMED = "explain bias", "artist", "named"
VALUES = ("fluent", "openmoji", "twemoji")
"""The artists that the embedded model was taught."""
WORDS = tuple(f", {one} style" for one in VALUES)
PROMPTS = {
    "cat face": "Animals & Nature",
    "dog face": "Animals & Nature",
    "pizza": "Food & Drink",
    "house": "Travel & Places",
    "automobile": "Travel & Places",
    "red apple": "Food & Drink",
    "guitar": "Objects",
    "evergreen tree": "Animals & Nature",
}
"""Subjects with their kinds."""
SITES, QUICK_SITES = ("mid_block", "up_blocks.0", "up_blocks.1"), ("up_blocks.0",)
SAMPLES, PICTURES, STEPS = 96, 160, 20
QUICK_SAMPLES, QUICK_PICTURES, QUICK_STEPS = 72, 40, 15
CODES = {"features": 30, "strength": 2.0, "expansion": 4, "updates": 300}
"""Settings of methods that edit codes."""
STEERING = {"strength": 4.0}


@dataclass(frozen=True, kw_only=True)
class BiasBench:
    """Edits that even out the artists which the embedded model draws where no prompt names one.

    Eight subjects are drawn without an artist, without guidance. `bias_before` is the distance of the shares of three
    artists from even ones, by the embedded classifier, and `after` the same under the edit; 95% intervals resample
    pictures. `ahead_of_chance` is the bias under the row's control less that under the edit; `hits` the share of
    pictures that show the artist they were led to; `kept` the similarity with the picture before; `right` the share
    whose kind is that of the subject. The row `named` has no edit: the prompt names the artist that is drawn by chance.
    """

    explain_figures: ClassVar[tuple[str, ...]] = ("bias_before", "bias_after")
    """Headline figures that `bench explain` tells too."""

    quick: bool = False
    """One site, fewer samples, pictures and steps: minutes."""
    rows: tuple[str, ...] = ()
    """Rows to measure, such as "difflens up_blocks.0"; none takes all."""
    seed: int = 0
    """Of drawings, samples and codes by chance, 0 to 2**32 - 1."""
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
        with Run.open(self.runs, "bench", "bias", settings, known, **about) as run:
            if run.status != "done":
                self._measure(methods, model, run)
                run.finish(_figures(run))
                for method in methods.values():
                    method.forget(run)
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        heads = ("row", "before", "after", "change", "95%", "ahead of chance", "hits", "kept", "right, before", "after")
        lines: list[tuple[str, ...]] = [heads]
        for name, row in figures["rows"].items():
            names = ("bias_before", "bias_after", "change")
            bounds = f"{row['change_low']:.2f} to {row['change_high']:.2f}"
            rest = (row[key] for key in ("ahead_of_chance", "hits", "kept", "right_before", "right_after"))
            cells = ("-" if one is None else f"{one:.2f}" for one in rest)
            lines.append((name, *(f"{row[key]:.2f}" for key in names), bounds, *cells))
        return aligned(lines)

    def _methods(self) -> dict[str, BiasEditor]:
        """Methods by the names of their rows, those of one site together, so that they share its samples.

        Raises `BadInput` for a row that there is not.
        """
        quick = {"samples": QUICK_SAMPLES, "steps": QUICK_STEPS} if self.quick else {"samples": SAMPLES, "steps": STEPS}
        found = {}
        for site in QUICK_SITES if self.quick else SITES:
            for name in VERBS[VERB].methods:
                own = STEERING if name == "steering" else CODES
                changes = {**quick, **own, "site": site, "seed": self.seed, "words": WORDS}
                found[f"{name} {site}"] = default_method(VERB, name, **changes)
        if unknown := [name for name in self.rows if name not in found]:
            raise BadInput(f"there is no row called {unknown[0]!r}; choose from: {', '.join(found)}")
        return {name: one for name, one in found.items() if not self.rows or name in self.rows}

    def _measure(self, methods: Mapping[str, BiasEditor], model: LatentDiffusion, run: Run) -> None:
        judge, similarity = artist_judge(), load_similarity("embedded")
        seeds, prompts = shown_seeds(self.seed, QUICK_PICTURES if self.quick else PICTURES), list(PROMPTS)
        left = [name for name in (*methods, NAMED) if name not in run.recorded("row")]
        with run.progress(len(methods) + 1, "rows", len(methods) + 1 - len(left)) as progress:
            for name in left:
                if name == NAMED:
                    found = _named(next(iter(methods.values())), model, prompts, seeds, judge, similarity)
                else:
                    edit = methods[name](model, prompts, judge, run=run)
                    found = evened_pictures(model, methods[name], edit, prompts, seeds, judge, similarity)
                figures = found.figures()
                if name == NAMED:
                    figures |= dict.fromkeys(("ahead_of_chance", "ahead_low", "ahead_high", "bias_by_chance"))
                run.record("row", name, figures)
                progress.advance()


def artist_judge() -> ValueJudge:
    """The embedded classifier's probabilities of the artists, and whether it sees the kinds of the subjects."""
    classifier = testbed.classifier()
    artists, kinds = classifier_score(classifier, HEAD), classifier_score(classifier, "kind")
    places = [artists.classes.index(one) for one in VALUES]

    @torch.no_grad()
    def shares(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        return artists.logits(pixels).softmax(1)[:, places].cpu()

    def seen(kind: str) -> Seen:
        place = kinds.classes.index(kind)
        return lambda pixels: (kinds.called(pixels) == place).float()

    return ValueJudge(HEAD, VALUES, shares, {text: seen(kind) for text, kind in PROMPTS.items()})


def _named(
    method: BiasEditor,
    model: LatentDiffusion,
    prompts: Sequence[str],
    seeds: Sequence[int],
    judge: ValueJudge,
    similarity: Similarity,
) -> EvenedValues:
    """Pictures whose prompt names the artist that the seed draws, in place of an edit; the control is no edit."""
    texts = [prompts[k % len(prompts)] for k in range(len(seeds))]
    towards, guide = drawn_values(len(VALUES), seeds, method.seed), ClassifierFree(method.guidance)
    shares, kept, right = list[Tensor](), list[Tensor](), list[Tensor]()
    for first in range(0, len(seeds), method.batch):
        cut = range(first, min(first + method.batch, len(seeds)))
        plain, own = [texts[k] for k in cut], [seeds[k] for k in cut]
        named = [f"{texts[k]}{WORDS[int(towards[k])]}" for k in cut]
        drawn = [drawn_pictures(model, method, words, own, guide) for words in (plain, named)]
        pixels: dict[str, Tensor] = dict(zip(PARTS, (*drawn, drawn[0]), strict=True))
        numbers = measured(pixels, plain, judge, similarity)
        shares.append(torch.tensor([numbers["shares"][part] for part in PARTS]))
        right.append(torch.tensor([numbers["right"][part] for part in PARTS]))
        kept.append(torch.tensor([numbers["kept"][part] for part in PARTS[1:]]))
    about = (NAMED, "its name in the prompt", "prompts without a name", judge.attribute, VALUES)
    walk = (method.site, method.steps, method.guidance, tuple(texts), tuple(seeds))
    notes = (WORDS, (0,) * len(VALUES), nan, nan, (0.0, 0.0))
    return EvenedValues(*about, *walk, *notes, torch.cat(shares, 1), towards, torch.cat(kept, 1), torch.cat(right, 1))


def _figures(run: Run) -> dict[str, Any]:
    """Headline figures, those of the best row by difflens first, then every row."""
    rows = run.recorded("row")
    lens = [row for name, row in rows.items() if name.startswith("difflens")] or list(rows.values())
    best = min(lens, key=lambda row: row["bias_after"])
    keys = ("bias_before", "bias_after", "change", "kept", "right_before", "right_after")
    headline = {key: best[key] for key in keys} | {"bias_named": rows[NAMED]["bias_after"]}
    return {**headline, "seconds": run.seconds, "machine": machine(), "versions": versions(), "rows": rows}
