"""Energies, verdicts, labels and copies by hand; planted shifts, and none where halves are drawn at random."""

import math

import numpy as np
import pytest
import torch

from blindspot_scenes import inks, pairs
from intaglio.errors import BadInput
from intaglio.explain.blindspots.concept_energies import deltas, floor_of, log_ratios
from intaglio.explain.blindspots.methods.channels import ChannelEnergies
from intaglio.explain.blindspots.methods.dictionary import DictionaryEnergies
from intaglio.explain.blindspots.pictured_pairs import PicturedPairs
from intaglio.metrics.statistics.roc import auc


def test_delta_by_hand():
    real, generated = np.array([3.0, 1.0, 0.0]), np.array([1.0, 1.0, 2.0])
    small = 0.01 * 1.0  # the median of 2, 1, 1
    assert floor_of(real, generated) == pytest.approx(small)
    shares = deltas(real, generated, "share", 0.8)
    np.testing.assert_allclose(shares, [(1 + small) / (4 + 2 * small), 0.5, (2 + small) / (2 + 2 * small)])
    np.testing.assert_allclose(deltas(10 * real, 10 * generated, "share", 0.8), shares), "no units"
    published = deltas(real, generated, "difference", 0.8)
    np.testing.assert_allclose(published, [1 / (1 + math.exp(2 / 0.8)), 0.5, 1 / (1 + math.exp(-2 / 0.8))])
    np.testing.assert_allclose(log_ratios(real, generated, small)[0], math.log((1 + small) / (3 + small)))


def colour_pairs():
    """Forty real pictures of three inks; in the generated ones red is gone, and blue is twice as common."""
    real = [k % 3 for k in range(42)]
    return pairs(real, [2 if one == 0 else one for one in real], control=True)


def test_an_ink_that_is_left_out_is_suppressed_and_one_that_is_doubled_exaggerated():
    found = ChannelEnergies()(inks(), colour_pairs())
    told = {one.number: one.verdict for one in found.shifts}
    assert told == {0: "suppressed", 1: "", 2: "exaggerated"}
    red, green, blue = sorted(found.shifts, key=lambda one: one.number)
    assert red.generated == 0
    assert blue.log_ratio == pytest.approx(math.log(2), abs=0.3)
    assert blue.interval[0] < blue.log_ratio < blue.interval[1]
    assert (red.label, blue.label) == ("0", "2")
    assert red.purity == pytest.approx(1 - 1 / 3)
    assert all(int(name[:3]) % 3 == 0 for name in red.most_real)
    assert red.most_generated == ()
    assert green.control == red.control == 0.0
    assert "1 are suppressed and 1 are exaggerated" in found.statement
    # Over the pictures a hue never comes with another.
    np.testing.assert_allclose(found.together["real"], np.eye(3), atol=1e-9)


def test_what_the_autoencoder_does_by_itself_is_no_blind_spot_of_the_model():
    given = colour_pairs()
    blurred = PicturedPairs(given.names, {**given.parts, "decoded": given.parts["generated"]})
    verdicts = {one.number: one.verdict for one in ChannelEnergies()(inks(), blurred).shifts}
    assert verdicts == {0: "autoencoder", 1: "", 2: "autoencoder"}
    (warning,) = [
        one for one in ChannelEnergies()(inks(), pairs([0, 1, 2] * 14, [1, 1, 2] * 14)).warnings if "--model" in one
    ]
    assert "blur alone" in warning


def planted_codes(count, seed):
    """Pictures of four labels, and forty concepts, each of which belongs to one label, as codes of each picture."""
    source = np.random.default_rng(seed)
    labels = source.integers(0, 4, count)
    of = np.arange(40) % 4
    strengths = source.exponential(size=(count, 40)) * (source.random((count, 40)) < 0.5)
    return strengths * (0.1 + (labels[:, None] == of)), labels, of


def compared(real, generated):
    given = PicturedPairs(tuple(f"{k}" for k in range(len(real))), {"real": torch.zeros(len(real), 3, 1, 1)})
    return ChannelEnergies().compared(given, {"real": real, "generated": generated}, None, "x")


def test_a_label_left_out_is_lowest_and_a_label_doubled_highest():
    real, labels, of = planted_codes(160, 0)
    takes = np.where(labels == 0, np.flatnonzero(labels == 1)[np.arange(160) % (labels == 1).sum()], np.arange(160))
    found = sorted(compared(real, real[takes]).shifts, key=lambda one: one.number)
    delta = np.array([one.delta for one in found])
    assert auc(delta[of != 0], delta[of == 0]) >= 0.95
    assert auc(delta[of == 1], delta[of != 1]) >= 0.95
    assert {one.verdict for one in found if of[one.number] == 0} == {"suppressed"}


def test_random_halves_have_next_to_no_blind_spots():
    named, asked = 0, 0
    for seed in range(10):
        codes, _, _ = planted_codes(120, seed + 1)
        found = compared(codes[:60], codes[60:])
        named += sum(one.q <= 0.05 for one in found.shifts)
        asked += len(found.shifts)
        assert named or any("no proof" in one for one in found.warnings)
    assert named / asked <= 0.05


def test_dead_codes_are_left_out_and_told():
    codes, _, _ = planted_codes(40, 0)
    codes[:, :30] = 0
    found = compared(codes, codes)
    assert (found.dead, len(found.shifts)) == (30, 10)
    assert {one.p for one in found.shifts} == {1.0}
    assert any("30 of 40 codes are 0 everywhere" in one for one in found.warnings)


def test_the_nearest_pairs_are_told_with_the_rank_of_their_own_real_picture():
    real = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    generated = np.array([[0.0, 2.0], [0.0, 3.0], [1.0, 0.5]])
    given = PicturedPairs(("a", "b", "c"), {"real": torch.zeros(3, 3, 1, 1)})
    (first, *_, last) = given.copied(real, generated)
    assert first == ("b", pytest.approx(0), 1)
    assert last == ("a", pytest.approx(1), 3)


def test_the_dictionary_never_learns_which_pictures_are_generated(monkeypatch):
    """Real and generated swapped: the same codes of each picture, bit for bit."""
    given = colour_pairs()
    swapped = PicturedPairs(
        given.names, {"real": given.parts["generated"], "generated": given.parts["real"]}, given.labels
    )
    method = DictionaryEnergies(concepts=4, active=2, updates=5, rows=32)
    one, other = method(inks(), given), method(inks(), swapped)
    assert torch.equal(one.sums["real"], other.sums["generated"])
    assert torch.equal(one.sums["generated"], other.sums["real"])


def test_one_pair_is_refused_and_few_are_warned_of():
    with pytest.raises(BadInput, match="there is 1; give 2 or more"):
        ChannelEnergies()(inks(), pairs([0], [1]))
    found = ChannelEnergies()(inks(), pairs([0, 1, 2], [1, 1, 2]))
    assert found.smallest_p == 2 / 2**3
    assert any("3 pairs of pictures are few" in one for one in found.warnings)
    assert any("no single concept" in one for one in found.warnings)
