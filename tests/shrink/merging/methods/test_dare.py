import hashlib

import numpy as np
import pytest

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.merging.drop_masks import kept_mask
from intaglio.shrink.merging.methods.dare import Dare
from intaglio.shrink.merging.methods.linear import LinearMerge
from merge_scenes import fine_tunes, flat, in_order

SMALL = {"drop": 0.7}
BAD = {"drop": 1.0}
PIECES = {}
VARIANTS = {"ties": {"SMALL": {"form": "ties", "density": 0.2}, "BAD": {"density": 1.5}, "PIECES": {}}}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def mask_by_hand(model, drop, seed):
    """Philox's words under a key of the labels, two numbers a word, the lower half first."""
    parts = []
    for part, path, shape in in_order(model):
        text = f"drop mask\n{seed}\n{model.weights_fingerprint}\n{part}.{path}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        words = [int(word) for word in np.random.Philox(key=key).random_raw(shape.numel() // 2 + 1)]
        halves = np.array([half for word in words for half in (word & 0xFFFFFFFF, word >> 32)], dtype=np.float64)
        parts.append(halves[: shape.numel()] >= np.round(drop * 2.0**32))
    return np.concatenate(parts)


def test_what_is_left_of_the_updates_is_rescaled_and_added(base):
    models = fine_tunes(base, 2)
    start = flat(base)
    updates = [mask_by_hand(model, 0.7, 3) * (flat(model) - start) / 0.3 for model in models]
    found = Dare(drop=0.7, seed=3, weights=(0.5, 0.8), scale=0.9)(models, base)
    assert np.abs(flat(found.model) - start - 0.9 * (0.5 * updates[0] + 0.8 * updates[1])).max() < 1e-6
    assert [row["share"] for row in found.rows] == pytest.approx([0.45, 0.72])


def test_the_form_ties_trims_and_elects_what_was_thinned(base):
    models = fine_tunes(base, 3)
    start = flat(base)
    updates = np.stack([mask_by_hand(model, 0.5, 0) * (flat(model) - start) / 0.5 for model in models])
    count = round(0.2 * len(start))
    trimmed = [np.where(np.abs(u) >= np.sort(np.abs(u))[-count], u, 0) for u in updates]
    sign = np.sign(np.sum(trimmed, 0))
    agree = np.stack([(np.sign(u) == sign) & (u != 0) for u in trimmed])
    wanted = (np.stack(trimmed) * agree).sum(0) / np.maximum(agree.sum(0), 1)
    found = flat(Dare(drop=0.5, form="ties")(models, base).model)
    off = np.abs(found - start - wanted) > 1e-6
    assert off.sum() <= 3, "but for magnitudes that rounding puts on the other side of the threshold"


def test_a_mask_keeps_its_share_and_depends_on_every_label():
    kept = kept_mask((300, 1001), 0.9, 0, "model", "place")
    assert abs(float(kept.float().mean()) - 0.1) < 4 * np.sqrt(0.09 / 300300)
    others = [(1, "model", "place"), (0, "other", "place"), (0, "model", "elsewhere")]
    for labels in others:
        other = kept_mask((300, 1001), 0.9, *labels)
        both = float((kept & other).float().mean())
        assert abs(both - 0.01) < 4 * np.sqrt(0.0099 / 300300), "independent of the first"
    assert np.array_equal(kept_mask((300, 1001), 0.9, 0, "model", "place"), kept)
    assert bool(kept_mask((5,), 0.0, 0, "model", "place").all())


def test_over_seeds_the_mean_is_the_linear_merge(base):
    models = fine_tunes(base, 1)
    wanted = flat(LinearMerge()(models, base).model) - flat(base)
    drawn = np.mean([flat(Dare(drop=0.5, seed=seed)(models, base).model) - flat(base) for seed in range(8)], 0)
    assert np.mean((drawn - wanted) ** 2) == pytest.approx(np.mean(wanted**2) / 8, rel=0.05)
    assert np.abs(flat(Dare(drop=0.0)(models, base).model) - flat(base) - wanted).max() < 1e-6


def test_masks_follow_the_models_and_not_their_order(base):
    models = fine_tunes(base, 3)
    for form in ("linear", "ties"):
        one, other = (flat(Dare(form=form)(each, base).model) for each in (models, models[::-1]))
        assert np.abs(one - other).max() <= 1e-6


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"drop": -0.1}, "drop must be at least 0"),
        ({"form": "ties", "weights": (1.0, 1.0)}, "weights are of the form linear"),
        ({"density": 0.5}, "density is of the form ties"),
        ({"form": "ties", "density": 0.0}, "density must be above 0"),
        ({"scale": 11.0}, "scale must be above 0"),
    ],
)
def test_settings_out_of_range_and_of_the_other_form_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Dare(**settings)


def test_it_needs_a_base_and_a_weight_for_each_model(base):
    models = fine_tunes(base, 2)
    with pytest.raises(BadInput, match="give the base"):
        Dare()(models)
    with pytest.raises(BadInput, match="1 weights are given for 2 models"):
        Dare(weights=(1.0,))(models, base)
