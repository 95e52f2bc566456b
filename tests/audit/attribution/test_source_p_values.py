"""Conformal p-values of sources, the rate of false attribution that they hold, and the pictures that are held out."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from attribution_scenes import planted
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.source_p_values import (
    HeldOut,
    fits,
    held_out_p_values,
    only_fit,
    p_of_scores,
    shares_of_sources,
    source_p_values,
)
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet

LABELS = torch.tensor([0] * 4 + [1] * 3)


def test_p_counts_the_held_out_of_each_source_that_are_as_unusual():
    held = torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0], [0, 5], [0, 6], [0, 7]])
    asked = torch.tensor([[2.5, 6.0], [0.5, 8.0], [9.0, 4.0]])
    expected = torch.tensor([[3 / 5, 3 / 4], [1 / 5, 4 / 4], [5 / 5, 1 / 4]]).double()
    torch.testing.assert_close(p_of_scores(asked, held, LABELS), expected)
    knownness = torch.tensor([0.5, 3.5, 9.0])
    known = torch.tensor([[1 / 5, 1 / 4], [4 / 5, 1 / 4], [5 / 5, 4 / 4]])
    numbers = HeldOut(held, torch.tensor([1.0, 2, 3, 4, 5, 6, 7]), LABELS)
    both = (2 * torch.minimum(expected, known.double())).clamp_max(1)
    torch.testing.assert_close(source_p_values(asked, knownness, numbers), both)


def test_held_out_pictures_are_judged_without_themselves():
    """Each against the others of its source, counted one by one."""
    random = torch.Generator().manual_seed(0)
    held = HeldOut(torch.randn(7, 2, generator=random), torch.randn(7, generator=random), LABELS)
    found = held_out_p_values(held)
    for i in range(7):
        for k in range(2):
            others = [j for j in range(7) if LABELS[j] == k and j != i]
            below = [sum(float(x[j]) <= float(x[i]) for j in others) for x in (held.posterior[:, k], held.knownness)]
            assert float(found[i, k]) == pytest.approx(min(1, 2 * (1 + min(below)) / (1 + len(others))))


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_p_is_uniform_and_false_attribution_stays_within_the_rate(rate):
    """Two sources that overlap: whatever the numbers, own p-values are uniform, and few go to the other."""
    random = np.random.default_rng(0)
    labels = torch.tensor([0] * 39 + [1] * 39)

    def numbers(x):
        log_odds = torch.from_numpy(2 * x - 2)
        posterior = torch.nn.functional.logsigmoid(torch.stack([-log_odds, log_odds], 1))
        return posterior, torch.from_numpy(-np.abs(x - 1))

    own, false = [], []
    for _ in range(300):
        held = HeldOut(*numbers(np.concatenate([random.normal(0, 1, 39), random.normal(2, 1, 39)])), labels)
        posterior, knownness = numbers(random.normal(0, 1, 10))
        own.append(float(p_of_scores(posterior, held.posterior, labels)[0, 0]))
        false += [
            verdict == 1 for verdict in only_fit(fits(source_p_values(posterior, knownness, held), rate)).tolist()
        ]
    assert kstest(np.array(own) - random.random(300) / 40, "uniform").pvalue > 0.01
    assert np.mean(false) <= rate + 3 * np.sqrt(rate / 3000)
    assert np.mean(false) > 0.2 * rate, "the two are near each other, so that the rate is used"


def test_one_fit_attributes_and_none_or_several_do_not():
    fitting = torch.tensor([[True, False, False], [False, False, False], [True, False, True], [False, False, True]])
    verdicts = only_fit(fitting).tolist()
    assert verdicts == [0, -1, -2, 2]
    assert shares_of_sources(verdicts, [0, 0, 1, 1], 3)[:2] == [
        {"pictures": 2, "own": 1, "other": 0, "none": 1, "several": 0},
        {"pictures": 2, "own": 0, "other": 1, "none": 0, "several": 1},
    ]
    assert fits(torch.tensor([[0.05, 0.0500001, 3 / 60]], dtype=torch.float64), 0.05).tolist() == [[False, True, False]]


def test_what_is_held_out_follows_from_content_and_keeps_captions_together():
    one, two = planted(0, 10), planted(1, 20)
    sources = PictureSources.of({"b": two, "a": one})
    assert sources.names == ("a", "b")
    assert sources.images.names[:2] == ("a/0000", "a/0001")
    taught, held = sources.divided(0.3, 5)
    assert torch.bincount(held.labels).tolist() == [3, 6]
    assert {*taught.images.hashes}.isdisjoint(held.images.hashes)
    assert len(taught) + len(held) == 30
    turned = PictureSources.of({"a": one[list(range(9, -1, -1))], "b": two})
    assert {*turned.divided(0.3, 5)[1].images.hashes} == {*held.images.hashes}
    assert {*sources.divided(0.3, 6)[1].images.hashes} != {*held.images.hashes}
    captions = [f"prompt {k // 5}" for k in range(20)]
    named = {
        name: ImageSet.from_pixels(images.pixels, None, captions[: len(images)])
        for name, images in {"a": one, "b": two}.items()
    }
    taught, held = PictureSources.of(named).divided(0.2, 0)
    assert {*taught.images.captions}.isdisjoint(held.images.captions)
    assert torch.bincount(held.labels, minlength=2).tolist()[0] == 5, "one of its two"


def test_sources_that_cannot_be_told_apart_are_refused():
    one, two = planted(0, 5), planted(1, 5)
    alike = ImageSet.from_pixels(one.pixels, None, ["x"] * 5)
    for words, sources in {
        "two or more with --source": {"a": one},
        "the source b has 3 pictures; give 4 or more": {"a": one, "b": two[:3]},
        "of different sizes": {"a": one, "b": planted(1, 5, 12)},
        "a/0001 and b/0003 are the same picture": {
            "a": one,
            "b": ImageSet.from_pixels(torch.cat([two.pixels[:3], one.pixels[[1]]])),
        },
    }.items():
        with pytest.raises(BadInput, match=words):
            PictureSources.of(sources)
    with pytest.raises(BadInput, match="pictures of the source a have so few captions"):
        PictureSources.of({"a": alike, "b": two}).divided(0.3, 0)
