"""Rows of the guarantees bench: LoRAs tuned with and without privacy, what they learn, and what an attack sees."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.dp_lora import DPLoRATuning
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.bench.kit.fixed_losses import measured
from intaglio.bench.kit.suspects import PAPER, PROMPT
from intaglio.denoising.examples import Examples
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.interval import interval
from intaglio.metrics.statistics.roc import row_aucs
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

MEMBERS, QUICK_MEMBERS = 100, 20
"""Pictures that are trained on; as many others by the same artist are not."""
STEPS, QUICK_STEPS = 200, 60
EPSILONS, QUICK_EPSILONS = (8.0, 2.0), (8.0,)
RATES = {"lora": 1e-3, "dp-lora": 1e-3}
"""Learning rates."""


def private_settings(seed: int, quick: bool) -> dict[str, Any]:
    """All that decides on the figures, as plain values."""
    return {
        "members": QUICK_MEMBERS if quick else MEMBERS,
        "steps": QUICK_STEPS if quick else STEPS,
        "epsilons": QUICK_EPSILONS if quick else EPSILONS,
        "rates": RATES,
        "seed": seed,
    }


def private_rows(run: Run, seed: int, quick: bool) -> dict[str, dict[str, Any]]:
    """Figures of each tune; one that was recorded is not made again."""
    settings = private_settings(seed, quick)
    recorded, key, rows = run.recorded("private"), digest(settings), {}
    members, others = pictures(settings["members"])
    tuners = _tuners(settings)
    left = [name for name in tuners if recorded.get(name, {}).get("key") != key]
    base = load_model(testbed.base_path()) if left else None
    with run.progress(len(tuners), "private tunes", len(tuners) - len(left)) as progress:
        for name, tuner in tuners.items():
            row = recorded.get(name, {})
            if row.get("key") != key and base is not None:
                tuned = tuner(base, TrainingSet(members, prompt=PROMPT)).model
                bound = _bound(tuner, members)
                row = {"key": key, **figures_of(base, tuned, members, others), "bound": bound}
                run.record("private", name, row)
                progress.advance()
            rows[name] = {what: value for what, value in row.items() if what != "key"}
    return rows


def pictures(count: int) -> tuple[ImageSet, ImageSet]:
    """Members and others, by turns of the held-out artist's pictures."""
    images = testbed.controls_wide()
    places = range(0, 2 * min(count, len(images) // 2), 2)
    return images[list(places)], images[[place + 1 for place in places]]


def _tuners(settings: Mapping[str, Any]) -> dict[str, LoRATuning | DPLoRATuning]:
    """By row."""
    shared: dict[str, Any] = {"steps": settings["steps"], "rank": 8, "targets": PAPER.targets, "seed": settings["seed"]}
    private = {"learning_rate": RATES["dp-lora"], "draws": 1, "noise_seed": settings["seed"]}
    return {
        "lora": LoRATuning(**shared, batch=8, learning_rate=RATES["lora"]),
        **{
            f"dp-lora, epsilon {epsilon:g}": DPLoRATuning(**shared, **private, epsilon=epsilon)
            for epsilon in settings["epsilons"]
        },
    }


def _bound(tuner: LoRATuning | DPLoRATuning, members: ImageSet) -> float:
    """The largest AUC of any attack on the tune: Phi(mu / sqrt 2) of full batches, mu = sqrt(steps) / sigma; else 1."""
    if not isinstance(tuner, DPLoRATuning):
        return 1.0
    data = TrainingSet(members, prompt=PROMPT)
    fitted = tuner.fitted(data)
    guarantee = fitted.guarantee(data)
    if guarantee is None or guarantee.report.rate < 1:
        return 1.0
    return float(ndtr(math.sqrt(guarantee.report.steps) / guarantee.report.sigma / math.sqrt(2)))


def figures_of(base: LatentDiffusion, tuned: LatentDiffusion, members: ImageSet, others: ImageSet) -> dict[str, Any]:
    """Losses over the base's, and the AUC by which the fall of the loss tells members from others."""
    before, after = ([_losses(model, images) for images in (members, others)] for model in (base, tuned))
    gaps = [old - new for old, new in zip(before, after, strict=True)]
    return {
        "members": float(after[0].mean() / before[0].mean()),
        "others": float(after[1].mean() / before[1].mean()),
        "auc": float(row_aucs(gaps[0][None], gaps[1][None])[0]),
        "interval": list(interval(row_aucs, gaps, batch=50)),
    }


def _losses(model: LatentDiffusion, images: ImageSet) -> Float[np.ndarray, "n"]:
    return measured(model, Examples.of(model, images, [PROMPT] * len(images))).astype(np.float64)


def private_headlines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The AUC of each row."""
    return {
        f"auc_{name.replace(',', '').replace('-', '_').replace(' ', '_')}": row["auc"] for name, row in rows.items()
    }


def private_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a row."""
    head: Sequence[str] = ("private tunes", "loss, members", "loss, others", "AUC", "95%", "bound")
    lines = [
        (
            name,
            f"{row['members']:.4f}",
            f"{row['others']:.4f}",
            f"{row['auc']:.3f}",
            "{:.3f} to {:.3f}".format(*row["interval"]),
            f"{row['bound']:.3f}",
        )
        for name, row in rows.items()
    ]
    return aligned([head, *lines])
