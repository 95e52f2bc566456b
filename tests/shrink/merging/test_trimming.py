import numpy as np
import pytest
import torch

from intaglio.shrink.merging.trimming import cut_of
from intaglio.shrink.merging.weight_places import Place


def kept_of(tensors, density):
    named = [(Place("denoiser", f"{k}"), tensor) for k, tensor in enumerate(tensors)]
    cut = cut_of(lambda: named, density)
    return np.concatenate([cut.kept(place, tensor).numpy().ravel() for place, tensor in named])


@pytest.mark.parametrize("density", [1e-4, 0.01, 0.2, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("kind", ["normal", "wide", "rounded", "equal", "sparse"])
def test_exactly_the_greatest_are_kept_over_all_tensors(density, kind):
    source = np.random.default_rng(1)
    values = source.standard_normal(5000)
    values = {
        "normal": values,
        "wide": values * 10.0 ** source.uniform(-30, 30, 5000),
        "rounded": np.round(values),
        "equal": np.full(5000, -0.5),
        "sparse": values * (source.random(5000) < 0.1),
    }[kind].astype(np.float32)
    pieces = [torch.from_numpy(piece.copy()) for piece in np.split(values, [700, 701, 3000])]
    pieces[3] = pieces[3].view(40, 50)
    kept = kept_of(pieces, density)
    count = max(1, round(density * 5000))
    assert kept.sum() == count
    wanted = np.sort(np.argsort(-np.abs(values), kind="stable")[:count])
    assert np.array_equal(np.flatnonzero(kept), wanted), "of equal ones the first"
