"""`intaglio bench guarantees`: promises of privacy and of correctness, beside attacks on them and their exact rates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from intaglio.bench.guarantees.certificate_rows import (
    certificate_headlines,
    certificate_rows,
    certificate_settings,
    certificate_table,
)
from intaglio.bench.guarantees.few_shot_rows import few_shot_headlines, few_shot_rows, few_shot_settings, few_shot_table
from intaglio.bench.guarantees.inference_rows import (
    inference_headlines,
    inference_rows,
    inference_settings,
    inference_table,
)
from intaglio.bench.guarantees.private_rows import private_headlines, private_rows, private_settings, private_table
from intaglio.bench.guarantees.query_rows import query_headlines, query_rows, query_settings, query_table
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

Promise = Literal["queries", "certificates", "inference", "private", "few-shot"]


class _Part(NamedTuple):
    """The rows of one kind of promise."""

    settings: Callable[[int, bool], dict[str, Any]]
    """By seed and `quick`, all that decides on the figures."""
    rows: Callable[[Run, int, bool], dict[str, dict[str, Any]]]
    """By run, seed and `quick`, figures by row; it records as it goes."""
    headlines: Callable[[Mapping[str, Mapping[str, Any]]], dict[str, Any]]
    table: Callable[[Mapping[str, Mapping[str, Any]]], str]


PARTS: dict[Promise, _Part] = {
    "queries": _Part(query_settings, query_rows, query_headlines, query_table),
    "certificates": _Part(certificate_settings, certificate_rows, certificate_headlines, certificate_table),
    "inference": _Part(inference_settings, inference_rows, inference_headlines, inference_table),
    "private": _Part(private_settings, private_rows, private_headlines, private_table),
    "few-shot": _Part(few_shot_settings, few_shot_rows, few_shot_headlines, few_shot_table),
}


@dataclass(frozen=True, kw_only=True)
class GuaranteesBench:
    """Promises of privacy beside attacks on them, with the rates that theory gives.

    Queries: each attack on an engine that answers counting queries, over synthetic tables in which 200 records stand
    alone on five attributes, half of them with the secret. `sticky` and `sticky unrounded` have the noise of Diffix;
    `exact` is the attack's accuracy in closed form there, and a row that lies above it by more than its interval is a
    fault. `laplace` has a budget of 1 for each attacked record, at 0.1 an answer, and `bound` is the largest accuracy
    that any attack has. `laplace without budget` answers for ever at 1 an answer: there the baseline has to work.
    Intervals are of 95%, exact for shares; `queries` are those of a record, and `suppressed` and `refused` the shares
    of them without an answer.

    Certificates: kinds by votes of 400 noisy copies of the shipped pictures of subjects that no classifier has seen.
    `smoothing` has the embedded classifier, which was never trained on noise; `smoothing, noisy` one that learnt from
    noisy pictures; `rrcm` the one that is told the noise, with the same stages and as many updates. Rows are of a
    noise each; `right beyond r` is the share of pictures whose proven class is the true one, with a radius above r;
    `without noise` is the classifier's accuracy; the last column is the paired difference with p of McNemar's test.

    Inference: answers of the embedded classifier of kinds, checked by a student of it at a rate of 1%; 1,000 pictures
    are known and the others asked about. `clean` is the share of unattacked answers that fail; the columns of attacks
    have the share of answers with a changed class that fail, and `mended` the share of these that then have the class
    which the classifier gave. `student` is its agreement with the classifier, `cost` its share of the multiplications;
    `small student` has all stages replaced, whatever it agrees on.

    Private: LoRAs tuned on pictures of the held-out artist, without privacy and with (epsilon, 1 / (10 N)) of each
    picture in full batches. Losses of members and of others by the artist are over the base's; `AUC` is that by which
    the fall of a picture's loss tells members from others, with its interval over pictures, and `bound` the largest
    that any attack has.

    Few-shot: a new head of the embedded classifier, taught two artists by so many shots of each, full batches; `right`
    is the share of 200 other pictures that are called rightly, over several draws of shots. `LiRA at 1%` is the share
    of members that the likelihood ratio attack finds at 1% false positives, over models on random halves of 40
    pictures, each once attacked and else a shadow; `bound` the most that any attack finds. `stopped early` has no
    privacy and a twentieth of the steps.
    """

    quick: bool = False
    """One table in place of ten, 40 pictures in place of all, students of a quarter of the updates, private tunes of 60
    steps on 20 pictures in place of 200 on 100, few-shot rows of fewer shots, epsilons and models: minutes."""
    promises: tuple[Promise, ...] = ()
    """Kinds of promises: queries, certificates, inference, private, few-shot; none takes all."""
    seed: int = 0
    """Seed of tables, noise and coins, from 0."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**62:
            raise ValueError(f"seed must be 0 to 2**62 - 1, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and under `rows` those of every row by kind of promise."""
        parts = {name: PARTS[name] for name in dict.fromkeys(self.promises or PARTS)}
        settings = {name: part.settings(self.seed, self.quick) for name, part in parts.items()}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "guarantees", settings, {}, **about) as run:
            if run.status != "done":
                rows = {name: part.rows(run, self.seed, self.quick) for name, part in parts.items()}
                headlines = {key: value for name in rows for key, value in parts[name].headlines(rows[name]).items()}
                known = {"seconds": run.seconds, "machine": machine(), "versions": versions()}
                run.finish({**headlines, **known, "rows": rows})
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """A table for each kind of promise."""
        return "\n\n".join(PARTS[name].table(rows) for name, rows in figures["rows"].items())
