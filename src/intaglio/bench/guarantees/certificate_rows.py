"""Rows of the guarantees bench: proven radii of three classifiers, and how often they are of the right class."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import product
from typing import Any, cast

import torch
from scipy.stats import binomtest

from intaglio.bench.kit.methods import default_method
from intaglio.files import file_hash
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.models import testbed
from intaglio.models.classifiers import PictureClassifier
from intaglio.printable import aligned
from intaglio.protect.certify.family import Certifier
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

HEAD = "kind"
SIGMAS = (0.5, 0.25, 0.12)
FIRST, VOTES = 20, 400
RADII = (0.0, 0.1, 0.25, 0.5)
QUICK_PICTURES = 40
PEER, OURS = "smoothing, noisy", "rrcm"
"""Rows that are compared picture by picture: one network, trained in two ways."""
NETWORKS: dict[str, tuple[str, Callable[[], PictureClassifier]]] = {
    "smoothing": ("smoothing", testbed.classifier),
    PEER: ("smoothing", lambda: testbed.noise_classifier(told=False)),
    OURS: ("rrcm", testbed.noise_classifier),
}
"""Method and classifier by the row's name."""


def certificate_settings(seed: int, quick: bool) -> dict[str, Any]:
    """All that decides on the figures, as plain values."""
    paths = (testbed.classifier_path(), *(testbed.noise_classifier_path(told=told) for told in (True, False)))
    methods = {name: asdict(_method(name, seed, SIGMAS[0])) for name in NETWORKS}
    shown = {"pictures": QUICK_PICTURES if quick else None, "sigmas": SIGMAS, "head": HEAD}
    return {**shown, "methods": methods, "classifiers": [file_hash(path) for path in paths]}


def certificate_rows(run: Run, seed: int, quick: bool) -> dict[str, dict[str, Any]]:
    """Certified accuracy of each network at each noise; a row that was recorded is not measured again."""
    images, names = _pictures(QUICK_PICTURES if quick else None)
    key, rows = digest(certificate_settings(seed, quick)), {}
    for sigma, (name, (_, read)) in product(SIGMAS, NETWORKS.items()):
        label = f"{name} {sigma:g}"
        row = run.recorded("certificates").get(label, {})
        if row.get("key") != key:
            classifier = cast(Any, read()).to(memory_format=torch.channels_last)  # a third faster on a processor
            row = {"key": key, **_measured(_method(name, seed, sigma), images, names, classifier, run)}
            run.record("certificates", label, row)
        rows[label] = {name: value for name, value in row.items() if name != "key"}
    for sigma in SIGMAS:
        rows[f"{OURS} {sigma:g}"]["beside"] = _beside(rows[f"{OURS} {sigma:g}"], rows[f"{PEER} {sigma:g}"])
    return rows


def _method(name: str, seed: int, sigma: float) -> Certifier:
    found: Certifier = default_method(
        "protect certify", NETWORKS[name][0], seed=seed, sigma=sigma, first=FIRST, votes=VOTES
    )
    return found


def _pictures(count: int | None) -> tuple[ImageSet, list[str]]:
    """Pictures of subjects that none of the classifiers has seen, evenly over their names, and the names of kinds."""
    images, labels = testbed.held_out_pictures()
    known = [place for place, one in enumerate(labels) if HEAD in one]
    chosen = known if count is None else known[:: max(1, len(known) // count)][:count]
    return images[chosen], [labels[place][HEAD] for place in chosen]


def _measured(
    method: Certifier, images: ImageSet, names: list[str], classifier: PictureClassifier, run: Run
) -> dict[str, Any]:
    """Figures of a row; `radii` has each picture's radius where its class is the right one, and else -1."""
    truth = [classifier.classes[HEAD].index(one) for one in names]
    plain = classifier.logits(images.pixels, HEAD).argmax(1).tolist()
    found = method(classifier, HEAD, images, run=run)
    accuracies = {str(radius): found.accuracy(truth, radius) for radius in RADII}
    return {
        "pictures": len(truth),
        "unsmoothed": sum(said == true for said, true in zip(plain, truth, strict=True)) / len(truth),
        "certified": accuracies,
        "intervals": {key: clopper_pearson(round(one * len(truth)), len(truth)) for key, one in accuracies.items()},
        "abstained": found.figures()["abstained"] / len(truth),
        "median_radius": found.figures()["median_radius"],
        "radii": [
            one.radius if one.label == true and one.radius is not None else -1.0
            for one, true in zip(found.pictures, truth, strict=True)
        ],
    }


def _beside(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By radius: by how much more pictures are certified rightly, how many by one of the two alone, and McNemar's p."""
    told = {}
    for radius in RADII:
        pairs = [(a > radius, b > radius) for a, b in zip(ours["radii"], peer["radii"], strict=True)]
        alone, discordant = sum(a and not b for a, b in pairs), sum(a != b for a, b in pairs)
        p = float(binomtest(alone, discordant).pvalue) if discordant else 1.0
        more = (2 * alone - discordant) / len(pairs)
        told[str(radius)] = {"more": more, "alone": [alone, discordant - alone], "p": p}
    return told


def certificate_headlines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Certified accuracy at each row's smallest and largest radius, and how much more rrcm has than its peer."""
    told: dict[str, Any] = {}
    for label, row in rows.items():
        name = "_".join("".join(letter if letter.isalnum() else " " for letter in label).split())
        told[f"certified_{name}"] = row["certified"][str(RADII[0])]
        told[f"certified_far_{name}"] = row["certified"][str(RADII[-1])]
        if "beside" in row:
            told[f"more_far_{name}"], told[f"p_far_{name}"] = (
                row["beside"][str(RADII[-1])][key] for key in ("more", "p")
            )
    return told


def certificate_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a row."""
    beyond = [f"right beyond {radius:g}" for radius in RADII]
    head = ("certificates, sigma", *beyond, "no verdict", "without noise", f"more than {PEER}, beyond {RADII[-1]:g}")
    lines = [
        (
            label,
            *(f"{row['certified'][str(radius)]:.2f}" for radius in RADII),
            f"{row['abstained']:.2f}",
            f"{row['unsmoothed']:.2f}",
            "{more:+.3f} (p {p:.2g})".format(**row["beside"][str(RADII[-1])]) if "beside" in row else "",
        )
        for label, row in rows.items()
    ]
    return aligned([head, *lines])
