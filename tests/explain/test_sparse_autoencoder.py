"""The sparse autoencoder: codes, losses and projections by hand, planted atoms, and a training that goes on."""

import numpy as np
import pytest
import torch

from families import breaking, opened
from intaglio.errors import BadInput
from intaglio.explain.sparse_autoencoder import (
    SparseAutoencoder,
    SparseSettings,
    dead_codes,
    largest,
    row_stochastic,
    sparse_loss,
    trained_autoencoder,
    within,
)
from intaglio.learning.checkpoints import Checkpoints


def test_codes_are_the_largest_of_a_row_above_0():
    given = torch.tensor([[3.0, -1.0, 2.0, 0.5], [-1.0, -2.0, -3.0, 1.0]])
    assert largest(given, 2).tolist() == [[3, 0, 2, 0], [0, 0, 0, 1]]
    assert dead_codes(largest(given, 2)) == [1]


def test_the_loss_of_two_rows_by_hand():
    """Atoms e1, e2, e1 + e2 and 2 e2; one code a row, and the residual by the larger two of the others."""
    atoms = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 2.0]])
    given = torch.tensor([[2.0, 1.0, 0.5, 0.25], [-1.0, 3.0, -1.0, -1.0]])
    rows = torch.tensor([[3.0, 2.0], [1.0, 1.0]])
    # Row 1: code 2 e1, residual (1, 2); others 1 e2 + 0.5 (e1 + e2) = (0.5, 1.5), of which (0.5, 0.5) is left.
    # Row 2: code 3 e2, residual (1, -2); the others are below 0, so that all of it is left.
    expected = (1 + 4 + 1 + 4) / 4 + 0.1 * (0.25 + 0.25 + 1 + 4) / 4
    assert float(sparse_loss(rows, given, atoms, 1)) == pytest.approx(expected)


def test_a_code_that_is_not_taken_learns_from_the_residual_alone():
    atoms = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    sparse_loss(torch.tensor([[2.0, 1.0]]), torch.tensor([[2.0, 1.5]]), atoms, 1).backward()
    # 0.1 / 2 |(0, 1) - 1.5 (a, b)|^2 at (a, b) = (0, 1): the slope by b is 0.1 (1.5 * 1.5 - 1.5).
    np.testing.assert_allclose(atoms.grad[1], [0, 0.1 * (1.5**2 - 1.5)], atol=1e-6)


def test_projections():
    mixed = row_stochastic(torch.tensor([[1.0, -5.0, 3.0], [0.0, 0.0, 2.0]]))
    assert mixed.tolist() == [[0.25, 0, 0.75], [0, 0, 1]]
    short = within(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1.0)
    torch.testing.assert_close(short, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


def planted(count=600, seed=0):
    """Rows that are one of six orthogonal atoms each, at a strength in 1..2, with noise."""
    source = torch.Generator().manual_seed(seed)
    atoms = torch.linalg.qr(torch.randn(12, 12, generator=source))[0][:6]
    which = torch.arange(count) % 6
    strengths = 1 + torch.rand(count, generator=source)
    return strengths[:, None] * atoms[which] + 0.02 * torch.randn(count, 12, generator=source), atoms, which


@pytest.mark.parametrize("atoms", ["archetypal", "free"])
def test_planted_atoms_are_found_each_by_a_code_of_its_own(atoms):
    rows, truth, which = planted()
    settings = SparseSettings(concepts=6, active=1, atoms=atoms, updates=150, rows=128, learning_rate=1e-2)
    found = trained_autoencoder(rows, settings)
    codes = found.codes(rows)
    assert found.left(rows) < 0.1
    assert not dead_codes(codes)
    units = found.dictionary / found.dictionary.norm(dim=1, keepdim=True)
    cosines = (units @ truth.T).max(0)
    assert float(cosines.values.min()) > 0.98
    assert float((codes.argmax(1) == cosines.indices[which]).float().mean()) > 0.99
    if atoms == "free":
        torch.testing.assert_close(found.dictionary, units)


def test_the_encoder_of_all_rows_is_the_normalised_one():
    """Mean and variance of the numbers that codes are taken from are those of the training's normalisation."""
    rows, _, _ = planted(120)
    found = trained_autoencoder(rows, SparseSettings(concepts=6, active=2, updates=1, rows=120, learning_rate=1e-9))
    given = (rows / found.unit) @ found.encoder.T + found.offset
    torch.testing.assert_close(given.mean(0), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(given.std(0, correction=0), torch.ones(6), rtol=0, atol=1e-3)
    twice = SparseAutoencoder(2 * found.unit, 2, found.encoder, found.offset, found.dictionary)
    torch.testing.assert_close(twice.codes(2 * rows), found.codes(rows)), "codes have no units"


def test_a_killed_training_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "save_when_due", Checkpoints.save)
    rows, _, _ = planted(60)
    settings = SparseSettings(concepts=6, active=2, updates=5, rows=32)
    whole = trained_autoencoder(rows, settings)
    with pytest.raises(KeyboardInterrupt), opened(tmp_path, settings) as run:
        trained_autoencoder(rows, settings, run=breaking(run, 3, KeyboardInterrupt))
    with opened(tmp_path, settings) as run:
        again = trained_autoencoder(rows, settings, run=breaking(run, 0))
    assert run.steps == 2
    for name in ("encoder", "offset", "dictionary"):
        assert torch.equal(getattr(again, name), getattr(whole, name))


def test_too_few_different_rows_are_refused():
    with pytest.raises(BadInput, match=r"8 concepts needs as many different rows .* have 2; give more pictures"):
        trained_autoencoder(torch.eye(2).repeat(20, 1), SparseSettings(concepts=8, updates=1))
