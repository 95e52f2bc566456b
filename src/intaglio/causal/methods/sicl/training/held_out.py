"""Evaluation of a network on held-out simulated tables during training."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.methods.sicl.networks.base import Network, unshielded
from intaglio.causal.methods.sicl.training.batches import encoded_batch
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.simulate import simulator
from intaglio.randomness import numpy_generator

HELD_OUT_SEED = 10_000_000
"""Seed of the held-out tables; seeds of training are smaller."""
HELD_OUT_SIZES = ((5, 200), (10, 200), (10, 1000), (20, 500))
"""(columns, rows) of the held-out tables."""
TABLES_PER_SIZE = 24


def average_precision(p: Float[ndarray, "k"], true: Bool[ndarray, "k"]) -> float:
    """Average precision: mean of the precision at each true label; NaN without true labels."""
    if not true.any():
        return float("nan")
    hits = true[np.argsort(-p, kind="stable")]
    return float((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean())


@torch.no_grad()
def held_out_scores(network: Network, curriculum: Curriculum) -> dict[str, float]:
    """Average precision and F1 (at 0.5) of the skeleton, and average precision of colliders, for a few sizes.

    Keys are `ap_<columns>_<rows>`, `f1_...` and `v_...`; colliders are scored over the true unshielded triples.
    """
    found = {}
    network.eval()
    for d, n in HELD_OUT_SIZES:
        if d > max(curriculum.columns):
            continue
        batch = simulator.draw(curriculum.recipe, numpy_generator(HELD_OUT_SEED, d * 10_000 + n), TABLES_PER_SIZE, d, n)
        tables, truth = encoded_batch(batch, curriculum.context)
        output = network(tables)
        above = np.triu(np.ones((d, d), bool), 1)
        logits, true = output.skeleton.numpy()[:, above], truth.skeleton.numpy()[:, above]
        hits, total = float((true & (logits > 0)).sum()), float((logits > 0).sum() + true.sum())
        triples = unshielded(truth.skeleton)
        colliders = output.colliders(triples).numpy()
        found |= {
            f"ap_{d}_{n}": average_precision(logits.ravel(), true.ravel()),
            f"f1_{d}_{n}": 2 * hits / total if total else 1.0,
            f"v_{d}_{n}": average_precision(colliders, truth.collider_labels(triples).numpy() > 0),
        }
    network.train()
    return found
