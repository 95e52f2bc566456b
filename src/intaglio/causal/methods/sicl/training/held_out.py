"""How well a network does on simulated tables that it never trained on."""

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
"""Of tables to judge by; trainings take seeds far below it."""
HELD_OUT_SIZES = ((5, 200), (10, 200), (10, 1000), (20, 500))
TABLES_PER_SIZE = 24


def average_precision(p: Float[ndarray, "k"], true: Bool[ndarray, "k"]) -> float:
    """Area under precision and recall, as the mean precision at each true one; NaN without true ones."""
    if not true.any():
        return float("nan")
    hits = true[np.argsort(-p, kind="stable")]
    return float((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean())


@torch.no_grad()
def held_out_scores(network: Network, curriculum: Curriculum) -> dict[str, float]:
    """Average precision of skeleton and F1 at 0.5 for a few sizes; and of colliders, over true unshielded triples."""
    found = {}
    network.eval()
    for d, n in HELD_OUT_SIZES:
        if d > max(curriculum.columns):
            continue
        batch = simulator.draw(curriculum.recipe, numpy_generator(HELD_OUT_SEED, d * 10_000 + n), TABLES_PER_SIZE, d, n)
        tables, truth = encoded_batch(batch, curriculum.context)
        beliefs = network(tables)
        above = np.triu(np.ones((d, d), bool), 1)
        logits, true = beliefs.skeleton.numpy()[:, above], truth.skeleton.numpy()[:, above]
        hits, said = float((true & (logits > 0)).sum()), float((logits > 0).sum() + true.sum())
        triples = unshielded(truth.skeleton)
        colliders = beliefs.colliders(triples).numpy()
        found |= {
            f"ap_{d}_{n}": average_precision(logits.ravel(), true.ravel()),
            f"f1_{d}_{n}": 2 * hits / said if said else 1.0,
            f"v_{d}_{n}": average_precision(colliders, truth.collider_labels(triples).numpy() > 0),
        }
    network.train()
    return found
