"""The sparse autoencoder of a site's places, found once for all methods of a run."""

from dataclasses import asdict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.explain.bias.code_attributions import place_codes
from intaglio.explain.sparse_autoencoder import SparseSettings, trained_autoencoder
from intaglio.learning.checkpoints import STATE as TRAINING
from intaglio.models.sparse_codes import SparseAutoencoder
from intaglio.randomness import generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.tensors import tensor_hash

STATE = "code dictionary"
"""Of the run: the autoencoder."""
MOST_ROWS = 32768
"""Places that it learns from, at most."""


def fitted_codes(values: Float[Tensor, "n s c *places"], settings: SparseSettings, run: Run) -> SparseAutoencoder:
    """An autoencoder of c numbers, learnt from places of all drawings and steps, or as the run has it."""
    key = digest([tensor_hash(values), asdict(settings)])
    stored = run.load_state(STATE)
    if stored is not None and stored[1].get("key") == key:
        tensors, about = stored
        parts = (tensors[name] for name in ("encoder", "offset", "dictionary"))
        return SparseAutoencoder(float(about["unit"]), int(about["active"]), *parts)
    rows = values.flatten(3).movedim(2, 3).flatten(0, 2) if values.dim() > 3 else values.flatten(0, 1)
    if len(rows) > MOST_ROWS:
        source = generator(settings.seed, "places")
        rows = rows[torch.randperm(len(rows), generator=source)[:MOST_ROWS].sort().values]
    if len(rows) < settings.concepts:
        raise BadInput(
            f"a dictionary of {settings.concepts} codes needs as many places, and the samples have {len(rows)}; draw "
            "more --samples, or lower --expansion"
        )
    with torch.enable_grad():
        found = trained_autoencoder(rows, settings, run=run)
    tensors = {name: getattr(found, name) for name in ("encoder", "offset", "dictionary")}
    run.save_state(STATE, tensors, {"key": key, "unit": found.unit, "active": found.active})
    run.drop_state(TRAINING)
    return found


def forget_codes(run: Run) -> None:
    """Drops the stored autoencoder; to be called once a result is safe."""
    run.drop_state(TRAINING)
    run.drop_state(STATE)


def unexplained(codes: SparseAutoencoder, values: Float[Tensor, "n s c *places"]) -> float:
    """Share of the variance of a quarter of the drawings, one at least, that codes leave unexplained."""
    some = values[::4].flatten(0, 1)
    rows = some.flatten(2).movedim(1, 2).flatten(0, 1) if some.dim() > 2 else some
    return codes.left(rows)


def mean_codes(codes: SparseAutoencoder, values: Float[Tensor, "n s *shape"]) -> Float[Tensor, "k"]:
    """The mean of each code over the places where it is above 0; 0 where it never is."""
    total, count = torch.zeros(len(codes.dictionary)), torch.zeros(len(codes.dictionary))
    for one in values:
        found = place_codes(codes, one)
        total += found.sum((0, 1))
        count += (found > 0).sum((0, 1))
    return total / count.clamp_min(1)


def random_codes(
    live: Float[Tensor, "k"], taken: Int[Tensor, "v m"], count: int, seed: int, label: str
) -> Int[Tensor, "v m2"]:
    """Codes drawn at random for each value, of those that are ever above 0 and that `taken` has not for it."""
    found = []
    for value, own in enumerate(taken):
        free = live > 0
        free[own] = False
        order = torch.randperm(len(live), generator=generator(seed, label, value))
        # Codes that never act, and those that are taken, are left for when no others are there.
        ranked = torch.cat([order[free[order]], order[~free[order]]])
        found.append(ranked[:count])
    return torch.stack(found)
