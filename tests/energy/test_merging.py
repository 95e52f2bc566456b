"""Profiles of one machine as one: a planted factor is found and taken out, and what does not belong is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import block_diag

from energy_networks import STEP, convolution, head
from energy_profiles import DEVICE, REGIME, small_profile
from intaglio.energy.layers.layer import SizedLayer, step_of
from intaglio.energy.methods.thor import Thor
from intaglio.energy.profile.merging import LogRatios, merged, pooled_factor
from intaglio.energy.profile.profile_document import to_document
from intaglio.energy.profile.profile_file import load_profile, save_profile
from intaglio.errors import BadInput


def times(profile, factor):
    """The profile as a meter that reads so many times as much would give it."""
    families = tuple(
        replace(one, amounts=one.amounts * factor, variances=one.variances * factor**2, fit=None)
        for one in profile.families
    )
    networks = tuple(
        replace(one, amount=one.amount * factor, variance=one.variance * factor**2) for one in profile.calibration
    )
    return replace(profile, families=families, calibration=networks)


def test_the_factor_is_the_generalised_least_squares_mean():
    rng = np.random.default_rng(0)
    groups = []
    for n in (3, 1, 4):
        root = rng.normal(size=(n, n))
        groups.append((rng.normal(0.1, 0.05, n), 1e-3 * (root @ root.T + np.eye(n))))
    d = np.concatenate([one for one, _ in groups])
    inverse = np.linalg.inv(block_diag(*(c for _, c in groups)))
    ones = np.ones(len(d))
    variance = 1 / (ones @ inverse @ ones)
    mean = variance * (ones @ inverse @ d)
    misfit = (d - mean) @ inverse @ (d - mean) / (len(d) - 1)
    found = pooled_factor([LogRatios(*group) for group in groups])
    assert np.log(found.factor) == pytest.approx(mean)
    assert found.relative_sd == pytest.approx(np.sqrt(variance * max(1, misfit)))
    assert found.shared == 8


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_a_planted_factor_is_found_and_taken_out(factor):
    first, other = small_profile(), times(small_profile(seed=5), factor)
    found = merged([first, other])
    (scale,) = found.scales
    assert scale.factor == pytest.approx(factor, rel=0.015)
    assert abs(np.log(scale.factor / factor)) < 4 * scale.relative_sd
    step = step_of([head(100), SizedLayer(STEP)])
    assert Thor()(found.profile)(step).amount == pytest.approx(Thor()(first)(step).amount, rel=0.02)


def test_the_stated_error_of_the_factor_is_true():
    first = small_profile()
    errors = []
    for seed in range(1, 5):
        (scale,) = merged([first, replace(small_profile(seed=seed), calibration=())]).scales
        errors.append(np.log(scale.factor) / scale.relative_sd)
    assert 0.1 < np.sqrt(np.mean(np.square(errors))) < 2.5


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_a_source_of_another_scale_is_refused(factor):
    with pytest.raises(BadInput, match=rf"profile 2 measures {factor:.2g}.* outside of 0.8 to 1.25"):
        merged([small_profile(), times(small_profile(seed=5), factor)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "CPU-s"}, "amounts in J and in CPU-s"),
        ({"provenance": "measured-counter"}, "modelled and measured amounts"),
        ({"device": {**DEVICE, "model": "Other"}}, "another machine or session .model Simulator there, Other here"),
        ({"regime": {**REGIME, "threads": 1}}, "another machine or session .threads"),
    ],
)
def test_what_has_no_common_scale_is_refused(changes, words):
    with pytest.raises(BadInput, match=words):
        merged([small_profile(), replace(small_profile(seed=5), **changes)])


def test_sources_that_share_nothing_are_refused():
    alone = replace(small_profile(), families=small_profile().families[:1], calibration=())
    other = replace(small_profile(), families=small_profile().families[1:], calibration=())
    with pytest.raises(BadInput, match="profile 2 shares no measured family or network"):
        merged([alone, other])
    with pytest.raises(ValueError, match="two profiles or more"):
        merged([alone])


def test_a_shared_network_is_a_reference_too():
    first = replace(small_profile(), families=small_profile().families[:1])
    other = replace(times(small_profile(), 1.1), families=small_profile().families[1:])
    found = merged([first, other])
    assert found.scales[0].factor == pytest.approx(1.1)
    assert len(found.profile.families) == 2
    (network,) = found.profile.calibration
    assert network.amount == pytest.approx(small_profile().calibration[0].amount)
    assert network.variance < small_profile().calibration[0].variance


def test_points_of_equal_sizes_are_averaged_by_precision():
    first, other = small_profile(), small_profile(seed=5)
    found = merged([first, other])
    family, a, b = (one.families[0] for one in (found.profile, first, other))
    both = set(map(tuple, a.sizes.tolist())) & set(map(tuple, b.sizes.tolist()))
    assert both
    assert len(family.sizes) == len(a.sizes) + len(b.sizes) - len(both)
    (scale,) = found.scales
    for sizes in both:
        i, j, k = (one.sizes.tolist().index(list(sizes)) for one in (a, b, family))
        y = np.array([a.amounts[i], b.amounts[j] / scale.factor])
        v = np.array([a.variances[i], (b.variances[j] + (scale.relative_sd * b.amounts[j]) ** 2) / scale.factor**2])
        assert family.amounts[k] == pytest.approx((y / v).sum() / (1 / v).sum())
        assert family.variances[k] == pytest.approx(1 / (1 / v).sum())
    assert (family.low, family.high) == (a.low, a.high)


def test_a_point_far_from_the_others_widens_the_error():
    first, other = small_profile(), small_profile(seed=5)
    odd = other.families[0].amounts.copy()
    odd[2] *= 1.5
    families = (replace(other.families[0], amounts=odd, fit=None), *other.families[1:])
    plain, wide = (merged([first, one]).scales[0] for one in (other, replace(other, families=families)))
    assert wide.relative_sd > 2 * plain.relative_sd


def test_three_sources_and_their_notes_go_through_a_file(tmp_path):
    first, second = small_profile(), times(small_profile(seed=5), 1.1)
    third = replace(times(small_profile(seed=6), 0.9), made="2027-01-01T00:00:00Z", provenance="modelled")
    found = merged([first, second, third])
    assert [round(scale.factor, 1) for scale in found.scales] == [1.1, 0.9]
    assert found.profile.made == "2027-01-01T00:00:00Z"
    assert [note[:9] for note in found.profile.notes] == ["made for ", "profile 2", "profile 3"]
    save_profile(found.profile, tmp_path / "a.safetensors")
    assert to_document(load_profile(tmp_path / "a.safetensors")) == to_document(found.profile)


def test_what_one_source_alone_knows_is_kept():
    wide = convolution(8, 8, 8).family
    more = replace(small_profile().families[0], family=wide, low=(8, 8), high=(256, 256), fit=None, time_fit=None)
    kinked = replace(small_profile(seed=5).families[0], kink=-0.3, additive=False)
    other = replace(small_profile(seed=5), families=(kinked, small_profile(seed=5).families[1], more))
    found = merged([small_profile(), other]).profile
    assert found.of(wide) is not None
    shared = found.of(kinked.family)
    assert (shared.kink, shared.additive) == (-0.3, False)
