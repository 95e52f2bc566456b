"""Detection: whose mark it is among many users and seeds, with a p-value that counts them all."""

import json
import stat

import pytest
import torch

from audit_scenes import model
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.protect.fingerprint.detection import detect
from intaglio.protect.fingerprint.family import least_bits, upper_tail
from intaglio.protect.fingerprint.mark_key import KeptKey, MarkKey
from intaglio.protect.fingerprint.marking import draw_marked
from intaglio.protect.fingerprint.methods.dwt_dct import DwtDct
from intaglio.protect.fingerprint.methods.gaussian_shading import GaussianShading
from intaglio.protect.fingerprint.result import FoundMark, MarkDetections

KEY = MarkKey.of_seed(0)


def pictures(count, seed=0):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def looked_for(pixels, **options):
    return detect(DwtDct(), [f"{k}.png" for k in range(len(pixels))], list(pixels), KEY, **options)


def test_each_picture_s_own_user_is_found_and_p_counts_all_that_were_tried():
    given, mark = pictures(3), DwtDct()
    marked = torch.cat([mark.embed(given[k : k + 1], KEY, user) for k, user in enumerate((0, 63, 17))])
    found = looked_for(marked, users=64, fpr=1e-5)
    assert [one.user for one in found.pictures] == [0, 63, 17]
    assert all(one.p == pytest.approx(64 * 2.0**-32) for one in found.pictures)
    assert found.figures()["called"] == 3
    assert found.figures()["users_called"] == [0, 17, 63]


def test_over_many_keys_the_rate_is_kept_whatever_is_tried():
    """One picture, 150 keys that did not mark it: at most the asked share is called, however many users there are."""
    mark, given = DwtDct(bits=16), pictures(1)
    reading = mark.read(given)
    smallest = [
        float(mark.agreement(reading, mark.meant(MarkKey.of_seed(k), range(20), ()), KEY).p.min()) for k in range(150)
    ]
    for rate in (0.2, 0.05):
        called = sum(min(1.0, 20 * p) <= rate for p in smallest) / 150
        assert called <= rate + 3 * (rate * (1 - rate) / 150) ** 0.5
    found = detect(mark, ["x"], [given[0]], MarkKey.of_seed(7), users=20, fpr=0.5)
    assert found.pictures[0].p == pytest.approx(min(1.0, 20 * smallest[7]))


def test_the_seed_of_a_drawing_is_found_among_those_tried(tmp_path):
    net, mark = model(), GaussianShading(factor=2, inversion_steps=4)
    marked = draw_marked(mark, net, ["red cat", "dog"], [5, 6], tmp_path, KEY, user=1, steps=4, guidance_scale=1.0)
    names = [one.saved for one in marked.pictures]
    pixels = list(ImageSet.load(tmp_path, net.resolution).pixels)
    found = detect(mark, names, pixels, KEY, model=net, users=3, seeds=range(8), fpr=0.01)
    assert found.seeds == 8
    own = [
        mark.agreement(mark.read(net, one[None]), mark.meant(KEY, [1], (4, 8, 8)), KEY, k + 5)
        for k, one in enumerate(pixels)
    ]
    for k, (one, row) in enumerate(zip(found.pictures, own, strict=True)):
        assert one.p <= min(1.0, 24 * float(row.p)) * (1 + 1e-9)
        assert marked.pictures[k].p == pytest.approx(float(row.p))


def test_thresholds_are_the_first_that_keep_the_rate():
    assert [least_bits(*one) for one in ((48, 1e-6), (64, 1e-3), (64, 1e-6), (32, 1e-3))] == [41, 45, 51, 26]
    assert least_bits(16, 1e-6) is None
    assert float(upper_tail(torch.tensor([41.0]), 48)) <= 1e-6 < float(upper_tail(torch.tensor([40.0]), 48))


def test_controls_say_where_the_rate_does_not_hold():
    found = looked_for(pictures(2), fpr=0.05, controls=list(pictures(3, seed=1)))
    assert len(found.controls) == 3
    assert "controls were called" in found.statement
    calls = tuple(FoundMark(f"{k}", 0.001 if k < 12 else 0.9, 1.0, 0) for k in range(40))
    off = MarkDetections("m", "r", "noise", "k", 1, 1, 0.05, calls, calls)
    assert off.realised[0] == 12
    assert "does not hold for pictures like the controls: 12 of 40" in off.statement


def test_a_result_is_read_as_it_was_written(tmp_path):
    found = looked_for(pictures(2), users=3, fpr=0.05, controls=list(pictures(1)))
    found.save(tmp_path)
    assert MarkDetections.load(tmp_path) == found
    assert found.to_frame().index.tolist() == [row["name"] for row in found.rows()]


@pytest.mark.parametrize("options", [{"users": 0}, {"seeds": ()}])
def test_nothing_to_try_is_refused(options):
    with pytest.raises(BadInput, match="at least"):
        looked_for(pictures(1), **options)


def test_a_mark_in_the_noise_wants_its_model():
    with pytest.raises(BadInput, match="--model"):
        detect(GaussianShading(), ["x"], [pictures(1)[0]], KEY)


def test_a_key_file_is_its_owner_s_alone_and_is_never_written_over(tmp_path):
    path = tmp_path / "k.json"
    kept = KeptKey(MarkKey.fresh(), "tree-ring", {"radius": 0.25, "channels": (1, 2)})
    kept.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = KeptKey.load(path)
    assert read.key == kept.key
    assert read.same_settings(kept.settings)
    assert not read.same_settings({"radius": 0.25, "channels": (1,)})
    with pytest.raises(BadInput, match="never written over"):
        kept.save(path)
    assert kept.key.secret.hex() not in repr(kept)


@pytest.mark.parametrize("content", [{}, [], {"intaglio_mark_key": 1, "method": "x", "settings": {}, "secret": "ab"}])
def test_a_file_that_is_no_key_is_refused(content, tmp_path):
    (tmp_path / "k.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match="holds no key"):
        KeptKey.load(tmp_path / "k.json")


def test_bits_of_other_labels_and_keys_are_others_and_even():
    many = torch.stack([MarkKey.of_seed(k).bits(1000, "a", k) for k in range(40)]).double()
    assert abs(float(many.mean()) - 0.5) < 4 * 0.5 / 40_000**0.5
    assert torch.equal(KEY.bits(300, "a")[:100], KEY.bits(100, "a"))
    assert not torch.equal(KEY.bits(300, "a"), KEY.bits(300, "b"))
