"""Rows of the guarantees bench: classifiers taught a few pictures privately, how often right, and what LiRA sees."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import norm

from intaglio.images.image_set import ImageSet
from intaglio.metrics.privacy import highest_true_positive_rate
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.metrics.statistics.roc import row_aucs
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.protect.private.family import PrivateTrainer
from intaglio.protect.private.methods.few_shot import PrivateFewShot
from intaglio.protect.private.methods.without_privacy import WithoutPrivacy
from intaglio.randomness import generator, seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

SHOTS, QUICK_SHOTS = (5, 10, 25, 50), (5, 25)
"""Pictures of each class that are learned from."""
EPSILONS, QUICK_EPSILONS = (8.0, 4.0, 2.0, 1.0), (8.0, 1.0)
REPEATS, QUICK_REPEATS = 10, 4
JUDGED = 100
"""Pictures of each class that are judged and never learned from."""
MODELS, QUICK_MODELS = 64, 24
"""Classifiers on random halves of a pool, each once attacked and else a shadow of the others."""
POOL = 40
FALSE = 0.01
"""Rate of false positives of the attack."""
HEAD = "artist"
EARLY = 5
"""Steps of the training without privacy that is stopped early."""


def few_shot_settings(seed: int, quick: bool) -> dict[str, Any]:
    """All that decides on the figures, as plain values."""
    return {
        "shots": QUICK_SHOTS if quick else SHOTS,
        "repeats": QUICK_REPEATS if quick else REPEATS,
        "models": QUICK_MODELS if quick else MODELS,
        "methods": {name: asdict(method) for name, method in _methods(seed, quick).items()},
    }


def _methods(seed: int, quick: bool) -> dict[str, PrivateTrainer]:
    """By row. The noise follows from a seed, so that figures can be had again."""
    private = {
        f"epsilon {epsilon:g}": PrivateFewShot(epsilon=epsilon, noise_seed=seed)
        for epsilon in (QUICK_EPSILONS if quick else EPSILONS)
    }
    return {
        "without privacy": WithoutPrivacy(seed=seed),
        "stopped early": WithoutPrivacy(seed=seed, steps=EARLY),
        **private,
    }


def few_shot_rows(run: Run, seed: int, quick: bool) -> dict[str, dict[str, Any]]:
    """Accuracy by shots and the attack of each row; one that was recorded is not measured again."""
    settings = few_shot_settings(seed, quick)
    recorded, key, rows = run.recorded("few shots"), digest(settings), {}
    methods = _methods(seed, quick)
    left = [name for name in methods if recorded.get(name, {}).get("key") != key]
    with run.progress(len(methods), "private classifiers", len(methods) - len(left)) as progress:
        for name, method in methods.items():
            row = recorded.get(name, {})
            if name in left:
                right = {str(shots): _right(method, shots, settings["repeats"], seed) for shots in settings["shots"]}
                row = {"key": key, "right": right, **_attacked(method, settings["models"], seed)}
                run.record("few shots", name, row)
                progress.advance()
            rows[name] = {what: value for what, value in row.items() if what != "key"}
    return rows


def classes_of(split: str) -> dict[str, ImageSet]:
    """Pictures of two artists: the first ones are learned from, the last ones judged."""
    every = {"noto": testbed.controls_wide(), "fluent": testbed.real_pictures()[: len(testbed.controls_wide())]}
    cut = {"learned": slice(0, -JUDGED), "judged": slice(-JUDGED, None)}[split]
    return {name: images[list(range(len(images)))[cut]] for name, images in every.items()}


def _right(method: PrivateTrainer, shots: int, repeats: int, seed: int) -> list[float]:
    """Share of judged pictures that are called rightly, for each repeat: other pictures, and other noise."""
    pool, judged, found = classes_of("learned"), classes_of("judged"), []
    for number in range(repeats):
        chosen = {name: _some(images, shots, seed, number, name) for name, images in pool.items()}
        taught = _with_seed(method, seed_32bit(seed, "repeat", number))(testbed.classifier(), HEAD, chosen)
        counts = taught.judged(judged).record.judged
        found.append(sum(one.right for one in counts) / sum(one.pictures for one in counts))
    return found


def _some(images: ImageSet, count: int, seed: int, number: int, name: str) -> ImageSet:
    order = torch.randperm(len(images), generator=generator(seed, "shots", number, name))
    return images[sorted(order[:count].tolist())]


def _with_seed(method: PrivateTrainer, seed: int) -> PrivateTrainer:
    about = {"noise_seed": seed} if isinstance(method, PrivateFewShot) else {"seed": seed}
    return type(method)(**{**asdict(method), **about})


def _attacked(method: PrivateTrainer, models: int, seed: int) -> dict[str, Any]:
    """LiRA (arXiv 2112.03570) on each model by the others: true positives at 1%, beside the most of any attack."""
    pool = {name: images[: POOL // 2] for name, images in classes_of("learned").items()}
    kept, confidence = np.zeros((models, POOL), bool), np.zeros((models, POOL))
    for number in range(models):
        half = torch.randperm(POOL, generator=generator(seed, "half", number // 2))[: POOL // 2]
        kept[number, half.numpy()] = True
        kept[number] ^= number % 2 == 1  # by pairs of a half and the rest, so that each picture is in as many as not
        parts = dict(zip(pool, np.split(kept[number], 2), strict=True))
        chosen = {name: images[np.flatnonzero(parts[name]).tolist()] for name, images in pool.items()}
        taught = _with_seed(method, seed_32bit(seed, "shadow", number))(testbed.classifier(), HEAD, chosen)
        confidence[number] = _log_odds(taught.classifier, pool)
    scores = likelihood_ratios(confidence, kept)
    threshold = np.quantile(scores[~kept], 1 - FALSE)
    found = int((scores[kept] > threshold).sum())
    report = method.report(POOL // 2)
    mu = float("inf") if report is None else report.steps**0.5 / report.sigma
    return {
        "attack": found / int(kept.sum()),
        "attack_interval": clopper_pearson(found, int(kept.sum())),
        "attack_auc": float(row_aucs(scores[kept][None], scores[~kept][None])[0]),
        "bound": highest_true_positive_rate(mu, FALSE) if report is not None else 1.0,
    }


def _log_odds(classifier: Any, pool: Mapping[str, ImageSet]) -> Float[ndarray, "n"]:
    """Log odds of each picture's own class, of two."""
    with torch.no_grad():
        logits = torch.cat([classifier.logits(images.pixels, HEAD) for images in pool.values()]).double().numpy()
    labels = np.repeat(np.arange(len(pool)), [len(images) for images in pool.values()])
    own = logits[np.arange(len(labels)), labels]
    return own - logits[np.arange(len(labels)), 1 - labels]


def likelihood_ratios(confidence: Float[ndarray, "m n"], kept: Bool[ndarray, "m n"]) -> Float[ndarray, "m n"]:
    """The log of N(x; in) / N(x; out) of each picture in each model, fitted to the others; deviations are shared."""
    found = np.zeros_like(confidence)
    for k in range(len(confidence)):
        others, mine = np.delete(confidence, k, 0), np.delete(kept, k, 0)
        sides = []
        for side in (mine, ~mine):
            values = np.where(side, others, np.nan)
            means = np.nanmean(values, 0)
            sides.append(norm.logpdf(confidence[k], means, np.sqrt(np.nanmean((values - means) ** 2))))
        found[k] = sides[0] - sides[1]
    return found


def few_shot_headlines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy at most shots, and the attack's true positives."""
    found = {}
    for name, row in rows.items():
        word = name.replace(" ", "_")
        found |= {f"right_{word}": float(np.mean([*row["right"].values()][-1])), f"attack_{word}": row["attack"]}
    return found


def few_shot_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a row."""
    shots = [*next(iter(rows.values()))["right"]]
    head = (
        "private classifiers",
        *(f"right, {one} shots" for one in shots),
        "LiRA at 1%",
        "95%",
        "bound",
        "LiRA's AUC",
    )
    lines = [
        (
            name,
            *(f"{np.mean(row['right'][one]):.3f}" for one in shots),
            f"{row['attack']:.3f}",
            "{:.3f} to {:.3f}".format(*row["attack_interval"]),
            f"{row['bound']:.3f}",
            f"{row['attack_auc']:.3f}",
        )
        for name, row in rows.items()
    ]
    return aligned([head, *lines])
