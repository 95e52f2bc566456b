"""Rows of the guarantees bench: proven radii of a classifier, and how often they are of the right class."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from intaglio.bench.kit.methods import default_methods
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.models import testbed
from intaglio.protect.certify.family import Certifier
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

HEAD = "artist"
SIGMAS, VOTES = (0.06, 0.12, 0.25), 1000
RADII = (0.0, 0.1, 0.25, 0.5)
PICTURES, QUICK_PICTURES = 200, 40


def certificate_settings(seed: int, quick: bool) -> dict[str, Any]:
    """All that decides on the figures, as plain values."""
    methods = {name: asdict(method) for name, method in default_methods("protect certify", seed=seed).items()}
    return {"pictures": QUICK_PICTURES if quick else PICTURES, "methods": methods, "sigmas": SIGMAS, "head": HEAD}


def certificate_rows(run: Run, seed: int, quick: bool) -> dict[str, dict[str, Any]]:
    """Certified accuracy of each method at each noise; a row that was recorded is not measured again."""
    images, truth = _pictures(QUICK_PICTURES if quick else PICTURES)
    classifier = testbed.classifier()
    key, rows = digest(certificate_settings(seed, quick)), {}
    plain = classifier.logits(images.pixels, HEAD).argmax(1).tolist()
    unsmoothed = sum(said == true for said, true in zip(plain, truth, strict=True)) / len(truth)
    for sigma in SIGMAS:
        for name, method in default_methods("protect certify", seed=seed, sigma=sigma, votes=VOTES).items():
            label = f"{name} {sigma:g}"
            row = run.recorded("certificates").get(label, {})
            if row.get("key") != key:
                row = {"key": key, "unsmoothed": unsmoothed, **_measured(method, images, truth, classifier, run)}
                run.record("certificates", label, row)
            rows[label] = {name: value for name, value in row.items() if name != "key"}
    return rows


def _pictures(count: int) -> tuple[ImageSet, list[int]]:
    """Pictures of all artists by turns, with the places of theirs among the classifier's."""
    images, classes = testbed.real_pictures(), testbed.classifier().classes[HEAD]
    artists = [str(caption).rpartition(", ")[2].removesuffix(" style") for caption in images.captions or ()]
    step = max(1, len(images) // count)
    chosen = list(range(0, len(images), step))[:count]
    return images[chosen], [classes.index(artists[place]) for place in chosen]


def _measured(method: Certifier, images: ImageSet, truth: list[int], classifier: Any, run: Run) -> dict[str, Any]:
    found = method(classifier, HEAD, images, run=run)
    accuracies = [found.accuracy(truth, radius) for radius in RADII]
    interval = clopper_pearson(round(accuracies[0] * len(truth)), len(truth))
    return {
        "certified": dict(zip(map(str, RADII), accuracies, strict=True)),
        "interval": interval,
        "abstained": found.figures()["abstained"] / len(truth),
        "median_radius": found.figures()["median_radius"],
    }


def certificate_headlines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Certified accuracy at each row's smallest radius."""
    return {
        f"certified_{label.replace(' ', '_').replace('-', '_').replace('.', '_')}": row["certified"][str(RADII[0])]
        for label, row in rows.items()
    }


def certificate_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a row."""
    head = ("certificates, sigma", *(f"right beyond {radius:g}" for radius in RADII), "no verdict", "without noise")
    lines = [
        (
            label,
            *(f"{row['certified'][str(radius)]:.2f}" for radius in RADII),
            f"{row['abstained']:.2f}",
            f"{row['unsmoothed']:.2f}",
        )
        for label, row in rows.items()
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in (head, *lines))
