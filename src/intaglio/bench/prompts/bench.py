"""`intaglio bench prompts`: audits of prompts on models that were trained on one picture many times."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from intaglio.audit.prompts.family import PromptAudit
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.kit.suspects import DUPLICATED, TUNERS, Tuner, fine_tuned
from intaglio.bench.prompts.drawn_loss import drawn_losses
from intaglio.metrics.statistics.roc import auc
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

QUICK_SETS, QUICK_UNTRAINED = 3, 12
UNTRAINED = 30
"""Captions of each suspect that were not trained on."""
QUICK: Mapping[str, int] = {"steps": 10, "noises": 2}
"""Settings of methods, where they have them, of a quick bench."""
DRAWN = "drawn-loss"
"""The row of the peer: the suspect's denoising loss of what it draws for the prompt."""


@dataclass(frozen=True, kw_only=True)
class PromptsBench(FewShotBench):
    """Every audit of prompts on models trained on one picture fifty times: separation, and cost.

    Regime `duplicated`: of 200 pictures under captions of their own, fifty are one and the same. The caption of that
    picture is to be told from captions of the same kind that were not trained on. Rows: each method's score less the
    base's, the suspect's `alone`, and the `base`'s, which tells what the prompt itself gives away; and `drawn-loss`,
    the negated denoising loss, under the prompt, of a picture that the suspect draws for it. Each has the area under
    the ROC, a mean over suspects and the lowest of them, with seconds a prompt.
    """

    quick: bool = False
    """Three sets, 12 prompts to tell from, 10 steps of two noises in place of 50 of four."""
    sets: tuple[str, ...] = ()
    """Few-shot sets whose first member is the duplicated picture, a suspect each; none takes all (or three with
    --quick)."""
    seed: int = 0
    """Of the fine-tunes, the audits and the drawn pictures."""

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them the areas of every row by suspect under `rows`."""
        settings = {
            "sets": self.chosen_sets(QUICK_SETS),
            "quick": self.quick,
            "regime": asdict(DUPLICATED),
            "untrained": self._untrained,
            "methods": {name: asdict(method) for name, method in self._methods().items()},
        }
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        run = Run.open(self.runs, "bench", "prompts", settings, self.inputs(), **about)
        with run:
            if run.status != "done":
                self._measure(run)
                run.finish(_figures(run))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", "AUC", "lowest", "s a prompt")
        lines = [
            (name, f"{row['auc']:.3f}", f"{row['lowest']:.2f}", f"{row['seconds']:.2f}")
            for name, row in figures["rows"].items()
        ]
        return aligned([head, *lines])

    @property
    def _untrained(self) -> int:
        return QUICK_UNTRAINED if self.quick else UNTRAINED

    def _methods(self) -> dict[str, PromptAudit]:
        """The audits with their defaults, without shares of words, which no area needs."""
        return default_methods("audit prompts", seed=self.seed, word_steps=0, **(QUICK if self.quick else {}))

    def _jobs(self) -> list[tuple[Tuner, str]]:
        """(tuner, set) of each suspect, by DreamBooth and by LoRA in turns."""
        return [(TUNERS[place % len(TUNERS)], name) for place, name in enumerate(self.chosen_sets(QUICK_SETS))]

    def _measure(self, run: Run) -> None:
        jobs = self._jobs()
        left = [job for job in jobs if "/".join(job) not in run.recorded("suspect")]
        workers = self.workers or workers_for(self.device)
        with run.progress(len(jobs), "suspects", len(jobs) - len(left)) as progress:
            for job, found in fan_out(self._asked, left, workers):
                run.record("suspect", "/".join(job), {"rows": found})
                progress.advance()

    def _asked(self, job: tuple[Tuner, str]) -> dict[str, dict[str, Any]]:
        """By row: the score of the duplicated picture's caption, those of the others, and seconds a prompt."""
        kind, subject = job
        base, seed = self.base, self.seed
        trained = DUPLICATED.training_set(subject).prompts
        prompts = [trained[0], *untrained_captions(subject, trained, self._untrained)]
        suspect = fine_tuned(base, DUPLICATED, kind, subject, seed)
        rows = {}
        for name, method in self._methods().items():
            began = time.monotonic()
            found = method(suspect, prompts, base=base)
            seconds = (time.monotonic() - began) / len(prompts)
            rows[name] = _row(found.scores.tolist(), seconds)
            for row, role in ((f"{name} alone", "model"), (f"{name} base", "base")):
                rows[row] = _row(found.signals[role].tolist(), seconds / 2)
        began = time.monotonic()
        losses = drawn_losses(suspect, prompts, seed=seed, steps=QUICK["steps"] if self.quick else 50)
        rows[DRAWN] = _row([-one for one in losses], (time.monotonic() - began) / len(prompts))
        return rows


def untrained_captions(subject: str, trained: Sequence[str], count: int) -> list[str]:
    """`count` different captions of holdouts, from those of a set onwards, that no picture was trained under."""
    names = testbed.sets()
    place = names.index(subject)
    captions = (
        str(text) for name in (*names[place:], *names[:place]) for text in testbed.few_shot(name).holdouts.captions
    )
    return list(dict.fromkeys(text for text in captions if text not in set(trained)))[:count]


def _row(scores: list[float], seconds: float) -> dict[str, Any]:
    return {"duplicated": scores[0], "untrained": scores[1:], "seconds": seconds}


def _figures(run: Run) -> dict[str, Any]:
    """Headline figures, then the areas of every row."""
    found = run.recorded("suspect")
    names = list(dict.fromkeys(row for one in found.values() for row in one["rows"]))
    rows = {name: _areas({key: one["rows"][name] for key, one in sorted(found.items())}) for name in names}
    return {
        "suspects": len(found),
        **{f"auc_{name.replace('-', '_').replace(' ', '_')}": row["auc"] for name, row in rows.items()},
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _areas(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    by_suspect = {key: auc([part["duplicated"]], part["untrained"]) for key, part in parts.items()}
    areas = [0.5 if area is None else area for area in by_suspect.values()]
    return {
        "auc": float(np.mean(areas)),
        "lowest": float(min(areas)),
        "by_suspect": by_suspect,
        "seconds": float(np.mean([part["seconds"] for part in parts.values()])),
    }
