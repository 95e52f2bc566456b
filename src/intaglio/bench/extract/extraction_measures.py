"""Measures of one extraction against the known training set: coverage at thresholds fitted to the encoder."""

from functools import cache
from typing import Any

import torch

from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.extract.coverage import coverage, fitted_threshold
from intaglio.extract.evaluation import LOOSE_RATE, STRICT_RATE
from intaglio.extract.extracted import Extraction
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models import testbed


@cache
def thresholds(device: str) -> dict[str, float]:
    """Similarities that few pairs of different pictures of one kind exceed, over all few-shot sets."""
    encoder = embedded_encoder(device)
    apart = []
    for name in testbed.sets():
        few = testbed.few_shot(name)
        # Not the nearest relatives: they were sought out, which no pair of a kind is.
        for others in (few.holdouts, few.controls):
            apart.append(encoder.matrix(few.members.pixels, others.pixels).flatten())
    pooled = torch.cat(apart)
    return {"loose": fitted_threshold(pooled, LOOSE_RATE), "strict": fitted_threshold(pooled, STRICT_RATE)}


def measured(result: Extraction, subject: str, encoder: Embedding) -> dict[str, Any]:
    """Coverage by what was returned; by everything that was drawn, as the limit of any choice among it."""
    members = testbed.few_shot(subject).members
    covered, at = coverage(members, result.pictures, encoder), thresholds(str(encoder.device))
    everything = (encoder.embed(members.pixels) @ result.descriptors.T).max(1).values
    return {
        "average": covered.average,
        "extracted": covered.extracted,
        "drawn": result.drawn,
        "threshold": result.threshold,
        "groups": len(result.scores),
        **{name: covered.rate(value) for name, value in at.items()},
        "oracle_average": float(everything.mean()),
        **{f"oracle_{name}": float((everything > value).double().mean()) for name, value in at.items()},
    }
