"""Pixel selectors as a whole: planted copies, what is hidden, held-out parts, what is told and warned of."""

import dataclasses

import numpy as np
import pytest
import torch

import feature_scenes
from intaglio.bench.selectors.planted_patches import COLOURS, planted_patches, precision, recall
from intaglio.errors import BadInput
from intaglio.explain.heat_maps import RED, coloured, overlaid
from intaglio.explain.selectors import family
from intaglio.explain.selectors.family import SELECTOR_STATE
from intaglio.explain.selectors.labelled_lessons import HEAD, LabelledLessons, Pace, taught_classifier
from intaglio.explain.selectors.methods.comet import Comet
from intaglio.explain.selectors.methods.grad_cam_mask import GradCamMask
from intaglio.explain.selectors.methods.without_detector import WithoutDetector
from intaglio.explain.selectors.result import SelectedPixels
from intaglio.explain.selectors.shown_pixels import fill_of, holes, shown, unshown
from intaglio.runs.run import Run

PLANTED = {"epochs": 20, "rows": 16, "learning_rate": 2e-2, "widths": (8, 16)}


def test_with_a_detector_both_copies_are_shown_and_without_one_neither_need_be():
    given = planted_patches(64, 16, 4, 1)
    codes = torch.tensor([list(COLOURS).index(one) for one in given.labels])
    lessons = LabelledLessons(given.images.pixels, codes, tuple(COLOURS), torch.ones(3), 1, torch.device("cpu"))
    plain = taught_classifier(lessons, Pace(**PLANTED, weight_decay=0.0), 0.5, "plain", Run.none())
    found = {}
    for kind in (Comet, WithoutDetector):
        taught = kind(**PLANTED, area=0.15, selector_widths=(8, 16)).learn(lessons, plain, Run.none())
        with torch.no_grad():
            masks = taught.masks(lessons.pixels)
            told = taught.predictor.logits(shown(lessons.pixels, masks, lessons.fill), HEAD).argmax(1)
        found[kind] = recall(masks, given.truth)
        assert float((told == codes).float().mean()) > 0.9  # a faint trace is enough for the predictor
        assert float(masks.mean()) < 0.2
    assert found[Comet] > found[WithoutDetector] + 0.4


def test_planted_pictures_have_two_patches_of_their_colour_and_shares_are_of_their_pixels():
    given = planted_patches(8, 16, 4, 3)
    assert given.truth.sum((1, 2)).tolist() == [2 * 16] * 8
    for k, label in enumerate(given.labels):
        inside = given.images.pixels[k][:, given.truth[k]]
        torch.testing.assert_close(inside, torch.tensor(COLOURS[label])[:, None].expand(3, 32), atol=1 / 255, rtol=0)
        assert int((given.images.pixels[k] - 0.5).abs().amax(0).lt(0.01).sum()) == 2 * 16
    masks = given.truth.float()
    masks[:, 8:] *= 0.4
    assert recall(masks, given.truth) == pytest.approx(float(given.truth[:, :8].sum() / given.truth.sum()))
    half = torch.full((8, 16, 16), 0.5)
    assert (recall(half, given.truth), precision(half, given.truth)) == (1.0, pytest.approx(32 / 256))
    again, other = planted_patches(8, 16, 4, 3), planted_patches(8, 16, 4, 4)
    assert torch.equal(again.images.pixels, given.images.pixels)
    assert not torch.equal(other.truth, given.truth)


def test_what_is_hidden_is_of_one_colour_for_all_pictures():
    white = torch.ones(3, 3, 8, 8)
    white[:, :, 2:4, 2:4] = 0.0
    dark = torch.full((1, 3, 8, 8), 0.25)
    assert fill_of(white).tolist() == [1, 1, 1]
    assert fill_of(torch.cat([white[:1], dark.repeat(2, 1, 1, 1)])).tolist() != [1, 1, 1]
    torch.testing.assert_close(fill_of(dark), torch.full((3,), 0.25))
    pixels, masks = torch.rand(2, 3, 4, 4), torch.rand(2, 4, 4)
    fill = torch.tensor([0.1, 0.5, 0.9])
    expected = masks[:, None] * pixels + (1 - masks[:, None]) * fill.view(1, 3, 1, 1)
    torch.testing.assert_close(shown(pixels, masks, fill), expected)
    torch.testing.assert_close(
        shown(pixels, masks, fill) + shown(pixels, 1 - masks, fill), pixels + fill.view(1, 3, 1, 1)
    )
    whole = unshown(pixels, masks, fill)
    hidden = (masks >= 0.5)[:, None].expand(2, 3, 4, 4)
    assert torch.equal(whole[~hidden], pixels[~hidden])
    torch.testing.assert_close(whole[hidden], fill.view(1, 3, 1, 1).expand(2, 3, 4, 4)[hidden])


def test_holes_are_in_a_share_of_the_pictures_and_take_half_of_them_on_average():
    source = torch.Generator().manual_seed(0)
    drawn = torch.cat([holes(50, (12, 20), 0.5, source) for _ in range(40)])
    assert drawn.shape == (2000, 12, 20)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    pierced = drawn.mean((1, 2)) < 1
    assert 0.42 < float(pierced.float().mean()) < 0.52
    assert 0.4 < float(drawn[pierced].mean()) < 0.55
    assert bool((holes(9, (12, 20), 0.0, source) == 1).all())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spied(GradCamMask):
    """Notes what it is given."""

    def learn(self, lessons, plain, run):
        NOTED.append((lessons, plain.training, any(one.requires_grad for one in plain.parameters())))
        return super().learn(lessons, plain, run)


NOTED = []
FEW = {"epochs": 1, "rows": 6, "widths": (4,)}


def test_the_held_out_pictures_are_not_learnt_and_groups_stay_together():
    images, labels = feature_scenes.labelled(30)
    groups = [f"pair {k // 2}" for k in range(30)]
    Spied.name = "spied"
    back = list(range(30))[::-1]
    found = Spied(**FEW)(images, "light", labels["light"], groups)
    turned = Spied(**FEW)(images[back], "light", labels["light"][::-1], groups[::-1])
    assert turned.result.figures() == found.result.figures()
    lessons, training, gradients = NOTED[0]
    assert (training, gradients) == (False, False)
    result = found.result
    assert len(lessons.pixels) + len(result.names) == 30
    assert result.learnt == len(lessons.pixels)
    asked = {groups[images.names.index(name)] for name in result.names}
    held = images.pixels[[images.names.index(name) for name in result.names]]
    assert 2 * len(asked) == len(result.names)
    assert not any(torch.equal(one, other) for one in lessons.pixels for other in held)


def test_the_second_classifier_learns_and_is_asked_without_the_pixels_that_are_shown(monkeypatch):
    images, labels = feature_scenes.labelled()
    given, real = [], family.taught_classifier

    def noted(lessons, pace, pierced, kind, run):
        net = real(lessons, pace, pierced, kind, run)
        if kind == family.SECOND_STATE:
            logits = net.logits
            given.append(lessons.pixels)
            monkeypatch.setattr(net, "logits", lambda pixels, head: given.append(pixels) or logits(pixels, head))
        return net

    monkeypatch.setattr(family, "taught_classifier", noted)
    found = GradCamMask(area=0.25, **FEW)(images, "light", labels["light"]).result
    learnt, asked = given
    fill, masks = torch.tensor(found.fill), torch.from_numpy(found.masks).float() / 255
    held = images.pixels[[images.names.index(name) for name in found.names]]
    assert torch.equal(asked, unshown(held, masks, fill))
    assert (learnt == fill.view(1, 3, 1, 1)).all(1).float().mean((1, 2)).tolist() == [0.25] * found.learnt


def test_each_answer_is_by_its_network_on_its_pictures(monkeypatch):
    images, labels = feature_scenes.labelled()
    asked, real = [], Comet._answers
    monkeypatch.setattr(Comet, "_answers", lambda self, *given: asked.append(given[:2]) or real(self, *given))
    found = Comet(selector_widths=(4, 4), **FEW)(images, "light", labels["light"])
    held = images.pixels[[images.names.index(name) for name in found.result.names]]
    with torch.no_grad():
        masks = found.taught.masks(held)
    fill = torch.tensor(found.result.fill)
    inside, outside = shown(held, masks, fill), shown(held, 1 - masks, fill)
    told = [(found.taught.predictor, inside), (found.plain, held), (found.plain, inside), (found.plain, outside)]
    for (network, pixels), (expected, of) in zip(asked, told, strict=False):
        assert network is expected
        torch.testing.assert_close(pixels, of)


def test_labels_that_a_part_lacks_are_told():
    images, labels = feature_scenes.labelled(30)
    groups = ["all" if one == "bright" else str(k) for k, one in enumerate(labels["light"])]
    with pytest.raises(BadInput, match="no column \\(light\\) has two labels of 5 groups or more"):
        Comet(**FEW)(images, "light", labels["light"], groups)


def test_a_state_is_saved_after_each_epoch():
    images, labels = feature_scenes.labelled()
    steps, run = [], Run.none()
    run.save_state = lambda name, tensors, meta, every_s=0: steps.append((name, meta["step"]))
    Comet(**{**FEW, "epochs": 3})(images, "light", labels["light"], run=run)
    assert [step for name, step in steps if name == SELECTOR_STATE] == [2, 4, 6, 6]


def test_a_plain_classifier_learns_from_pictures_with_holes():
    given = planted_patches(32, 16, 4, 0)
    codes = torch.tensor([list(COLOURS).index(one) for one in given.labels])
    lessons = LabelledLessons(given.images.pixels, codes, tuple(COLOURS), torch.ones(3), 0, torch.device("cpu"))
    pace = Pace(epochs=2, rows=16, learning_rate=1e-2, weight_decay=0.0, widths=(8,))
    nets = [taught_classifier(lessons, pace, share, "plain", Run.none()) for share in (0.0, 0.0, 1.0)]
    told = [net.logits(given.images.pixels, HEAD) for net in nets]
    assert torch.equal(told[0], told[1])
    assert not torch.allclose(told[0], told[2])
    assert not any(net.training for net in nets)


def result(**changes) -> SelectedPixels:
    """Forty pictures of two labels; the predictor names three of four right, the plain one all."""
    truth = np.arange(40) % 2
    told = np.where(np.arange(40) % 4 < 3, truth, 1 - truth)
    values = {
        "method": "comet", "reading": "a network", "column": "kind", "classes": ("a", "b"), "dropped": (("c", 2),),
        "grouped": False, "learnt": 160, "allowed": 0.2, "fill": (1.0, 1.0, 1.0),
        "names": tuple(f"{k:02d}" for k in range(40)), "truth": truth, "groups": np.arange(40), "predicted": told,
        "plain": truth, "seen": told, "left": np.zeros(40, np.int64), "second": np.zeros(40, np.int64),
        "areas": np.full(40, 0.15), "masks": np.zeros((40, 2, 2), np.uint8),
    }  # fmt: skip
    return SelectedPixels(**{**values, **changes})


def test_shares_are_means_over_labels_and_are_told_with_their_intervals():
    found = result()
    assert (found.accuracy, found.difference, found.chance, found.area) == (0.75, -0.25, 0.5, pytest.approx(0.15))
    assert found.interval[0] < 0.75 < found.interval[1]
    assert result(groups=np.arange(40) // 4).interval == pytest.approx((0.75, 0.75))  # each group is right as often
    rows = found.rows()
    assert [(row["label"], row["pictures"], row["right"], row["left_out_right"]) for row in rows] == [
        ("a", 20, 1.0, 1.0), ("b", 20, 0.5, 0.0),
    ]  # fmt: skip
    assert "from 15% of their area, -0.25" in found.statement
    assert "0.50 right, and one that was taught on the pixels that are not shown 0.50" in found.statement
    assert [found.truth[k] for k in found.shown(3)] == [0, 1, 0]
    assert len(found.shown(99)) == 40
    (few,) = found.warnings
    assert "left out: c (2)" in few


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predicted": np.zeros(40, np.int64), "seen": np.zeros(40, np.int64)}, "do not tell from a guess, 0.50"),
        ({"second": np.arange(40) % 2}, "pixels that are not shown still tell kind"),
        ({"seen": np.zeros(40, np.int64)}, "it may read what a person does not see"),
        ({"areas": np.full(40, 0.26)}, "the masks show 26% of a picture, and 20% was allowed"),
    ],
)
def test_masks_that_are_not_to_be_trusted_are_warned_of(changes, words):
    assert words in " ".join(result(**changes).warnings)


def test_a_damaged_file_is_told(tmp_path):
    result(left=np.full(40, 7)).save(tmp_path)
    with pytest.raises(BadInput, match="do not fit each other"):
        SelectedPixels.load(tmp_path)
    assert SelectedPixels.load(tmp_path / "none") is None


def test_a_faint_mask_is_shown_faintly_whatever_the_rest_of_it_is():
    faint = torch.full((4, 4), 0.25)
    torch.testing.assert_close(coloured(faint, 1.0)[:, 0, 0], 0.75 + 0.25 * torch.tensor(RED))
    assert float(overlaid(faint, torch.ones(3, 4, 4), 1.0).min()) > float(overlaid(faint, torch.ones(3, 4, 4)).min())
