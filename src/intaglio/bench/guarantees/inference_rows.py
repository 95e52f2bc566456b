"""Rows of the guarantees bench: answers of a classifier that runs elsewhere, attacked and not, checked by a student."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from intaglio.audit.inference.attacked_answers import changed, constant, random_class, swapped
from intaglio.audit.inference.audit import check_results
from intaglio.audit.inference.class_answers import Answers
from intaglio.audit.inference.family import ResultCheck
from intaglio.audit.inference.fitted_check import FittedCheck
from intaglio.audit.inference.service_student import probabilities
from intaglio.bench.kit.methods import default_methods
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.models import testbed
from intaglio.models.classifiers import PictureClassifier
from intaglio.printable import aligned
from intaglio.randomness import generator, seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

HEAD = "kind"
RATE = 0.01
AGREEMENTS = {"": 0.9, ", small student": 0.5}
"""Agreement that is asked of the student, by the ending of a row's name; the second replaces all stages."""
KNOWN, QUICK_STEPS = 1000, 240
STEPS = 1000
ATTACKS: dict[str, Callable[[Answers, torch.Generator], Answers]] = {
    "swap": lambda answers, source: swapped(answers),
    "random class": random_class,
    "constant": lambda answers, source: constant(answers),
}
"""Attacks; of these `fides` learns from swaps and, as answers to other pictures, constant ones; not the second."""


def inference_settings(seed: int, quick: bool) -> dict[str, Any]:
    """All that decides on the figures, as plain values."""
    methods = {name: asdict(method) for name, method in _methods(seed, quick, 0.9).items()}
    return {"known": KNOWN, "methods": methods, "agreements": list(AGREEMENTS.values()), "rate": RATE, "head": HEAD}


def inference_rows(run: Run, seed: int, quick: bool) -> dict[str, dict[str, Any]]:
    """Figures of each method with each student; a row that was recorded is not measured again."""
    key, rows = digest(inference_settings(seed, quick)), {}
    recorded = run.recorded("inference")
    service, every = testbed.classifier(), _pictures(seed)
    known, asked = every[:KNOWN], every[KNOWN:]
    for ending, agreement in AGREEMENTS.items():
        methods, student = _methods(seed, quick, agreement), None
        for name, method in methods.items():
            label = f"{name}{ending}"
            row = recorded.get(label, {})
            if row.get("key") != key:
                if student is None:
                    student = method.student(service, HEAD, known, run=run)
                fitted = method.fit(service, HEAD, known, student=student, run=run)
                row = {"key": key, "role": method.role, **_measured(method, fitted, service, asked, seed)}
                run.record("inference", label, row)
                method.forget(run, 0)  # of the method's own training; the next has another
            rows[label] = {one: value for one, value in row.items() if one != "key"}
        next(iter(methods.values())).forget(run, len(service.widths))
    return rows


def _methods(seed: int, quick: bool, agreement: float) -> dict[str, ResultCheck]:
    steps = QUICK_STEPS if quick else STEPS
    return default_methods("audit inference", seed=seed, steps=steps, agreement=agreement)


def _pictures(seed: int) -> ImageSet:
    """All different pictures of the testbed's sets, in an order that follows from the seed."""
    parts = [testbed.real_pictures(), testbed.controls_wide()]
    for name in testbed.sets():
        few = testbed.few_shot(name)
        parts += [few.members, few.holdouts, few.near, few.controls, few.other_hands]
    first = {content: one for part in parts for content, one in zip(part.hashes, part.pixels, strict=True)}
    order = sorted(first, key=lambda content: (seed_32bit(seed, "bench inference", content), content))
    return ImageSet.from_pixels(torch.stack([first[content] for content in order]))


def _measured(
    method: ResultCheck, fitted: FittedCheck, service: PictureClassifier, asked: ImageSet, seed: int
) -> dict[str, Any]:
    clean = probabilities(service, HEAD, asked.pixels, method.batch)
    right = clean.argmax(1)
    null = check_results(method, fitted, asked, clean, rate=RATE).passes.count(False)
    found: dict[str, Any] = {
        "null": null / len(asked),
        "null_interval": clopper_pearson(null, len(asked)),
        "pictures": len(asked),
        "held": len(fitted.held),
        "agreement": fitted.agreement,
        "cost": fitted.cost,
        "attacks": {},
    }
    for name, attack in ATTACKS.items():
        answers = attack(clean, generator(seed, "bench attack", name))
        places = changed(clean, answers)
        checked = check_results(method, fitted, asked, answers, rate=RATE)
        caught = sum(not checked.passes[place] for place in places.tolist())
        mended = (checked.repaired.argmax(1) == right)[places].double().mean()
        found["attacks"][name] = {
            "attacked": len(places),
            "power": caught / len(places),
            "interval": clopper_pearson(caught, len(places)),
            "repaired": float(mended),
        }
    return found


def inference_headlines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rate of clean answers that fail, and of attacked ones of a random class that do, of each row."""
    found = {}
    for label, row in rows.items():
        word = label.replace(",", "").replace("-", "_").replace(" ", "_")
        found[f"null_{word}"] = row["null"]
        found[f"power_{word}"] = row["attacks"]["random class"]["power"]
    return found


def inference_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a row."""
    head = (
        "answers, check",
        "clean",
        "interval",
        *ATTACKS,
        *(f"mended, {name}" for name in ATTACKS),
        "student",
        "cost",
    )
    lines = [
        (
            label,
            f"{row['null']:.3f}",
            "{:.3f} to {:.3f}".format(*row["null_interval"]),
            *(f"{row['attacks'][name]['power']:.2f}" for name in ATTACKS),
            *(f"{row['attacks'][name]['repaired']:.2f}" for name in ATTACKS),
            f"{row['agreement']:.2f}",
            f"{row['cost']:.2f}",
        )
        for label, row in rows.items()
    ]
    return aligned([head, *lines])
