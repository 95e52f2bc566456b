"""Detection: whose mark it is among many users and seeds, with a p-value that counts them all."""

import json
import stat

import pytest
import torch

from audit_scenes import model
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.protect.fingerprint.detection import detect
from intaglio.protect.fingerprint.family import upper_tail
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


def test_user_and_seed_of_a_drawing_are_found_and_p_counts_both(monkeypatch):
    """Readings are the marked starts themselves, with three signs in ten turned round."""
    net, mark, shape = model(), GaussianShading(), (4, 8, 8)
    start = torch.cat([mark.start(shape, KEY, user, [seed]) for user, seed in ((2, 6), (0, 3), (1, 0))])
    turned = torch.rand(start.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    readings = torch.where(turned, -start, start)
    monkeypatch.setattr(GaussianShading, "read", lambda self, net, pixels: readings)
    pixels = [torch.zeros(3, net.resolution, net.resolution)] * 3
    found = detect(mark, ["a", "b", "c"], pixels, KEY, model=net, users=3, seeds=range(7), fpr=0.01)
    assert found.seeds == 7
    assert [(one.user, one.seed) for one in found.pictures] == [(2, 6), (0, 3), (1, 0)]
    for one, reading in zip(found.pictures, readings, strict=True):
        own = mark.agreement(reading[None], mark.meant(KEY, [one.user], shape), KEY, one.seed)
        assert one.p == pytest.approx(min(1.0, 3 * 7 * float(own.p)))


def test_drawings_are_read_back_by_their_own_seed(tmp_path):
    net, mark = model(), GaussianShading(inversion_steps=4)
    marked = draw_marked(mark, net, ["red cat", "dog"], [5, 6], tmp_path, KEY, user=1, steps=4, guidance_scale=1.0)
    pixels = ImageSet.load(tmp_path, net.resolution).pixels
    for one, picture, seed in zip(marked.pictures, pixels, (5, 6), strict=True):
        own = mark.agreement(mark.read(net, picture[None]), mark.meant(KEY, [1], (4, 8, 8)), KEY, seed)
        assert (one.seed, one.p) == (seed, pytest.approx(float(own.p)))


def test_users_who_share_a_message_are_counted_as_rivals_across_blocks(monkeypatch):
    monkeypatch.setattr("intaglio.protect.fingerprint.detection.BLOCK", 4)
    bits = MarkKey.bits
    # Users 1, 2 and 6 share a message, so that no reading tells them apart.
    monkeypatch.setattr(MarkKey, "bits", lambda self, n, what, user: bits(self, n, what, 1 if user in (2, 6) else user))
    given = DwtDct().embed(pictures(1), KEY, 6)
    (found,) = looked_for(given, users=9).pictures
    assert (found.user, found.rivals, found.owner) == (1, 2, "1 or 2 others")
    assert found.p == pytest.approx(9 * 2.0**-32)


def test_open_factors_leave_64_bits_where_there_are_so_many():
    for shape, bits in (((4, 64, 64), 256), ((4, 16, 16), 64), ((16, 128, 128), 4096), ((4, 6, 6), 144)):
        assert GaussianShading().meant(KEY, [0], shape).shape[1] == bits


def test_thresholds_are_the_first_that_keep_the_rate():
    for count, rate, first in ((48, 1e-6, 41), (64, 1e-3, 45), (64, 1e-6, 51), (32, 1e-3, 26)):
        assert float(upper_tail(torch.tensor([first]), count)) <= rate
        assert float(upper_tail(torch.tensor([first - 1]), count)) > rate


def test_controls_say_where_the_rate_does_not_hold():
    found = looked_for(pictures(2), fpr=0.05, controls=list(pictures(3, seed=1)))
    assert found.realised[0] == 0
    assert "0 of 3 controls were called" in found.statement
    marked = DwtDct().embed(pictures(2, seed=1), KEY, 0)
    with_marks = looked_for(pictures(2), fpr=1e-4, controls=[*marked, *pictures(1)])
    assert [one.p <= 1e-4 for one in with_marks.controls] == [True, True, False]
    assert with_marks.realised[0] == 2
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


def test_a_rate_that_the_bits_cannot_reach_is_refused():
    """Of 32 bits, all of them right: 2^-32 a user, which 4,294 users leave below 1e-6 and 4,295 do not."""
    assert looked_for(pictures(1), users=4294, fpr=1e-6).pictures[0].p > 1e-6
    with pytest.raises(BadInput, match="p is 1e-06 or more for 4,295 users"):
        looked_for(pictures(1), users=4295, fpr=1e-6)


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
