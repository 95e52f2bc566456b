import hashlib
import json
import zipfile
from itertools import combinations

import pytest
import torch

from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed

SIZES = {"members": 10, "holdouts": 10, "near": 10, "controls": 40, "other_hands": 20}


def table():
    """The list of the pictures, as it is shipped."""
    with zipfile.ZipFile(testbed.FOLDER / "sets/pictures.zip") as archive:
        return json.loads(archive.read("sets.json"))


@pytest.fixture(scope="module")
def everything():
    return {name: testbed.few_shot(name) for name in testbed.sets()}


def apart(a, b):
    """Difference of the ink (1 - colour) at 16 x 16, mirrored or not, relative to how much ink there is."""
    a, b = (torch.nn.functional.avg_pool2d(1 - x, 4) for x in (a, b))
    gap = min((a - b).norm().item(), (a - b.flip(-1)).norm().item())
    return gap / (a.norm() * b.norm()).sqrt().item()


def test_there_are_enough_sets_of_the_promised_sizes(everything):
    assert len(everything) >= 12
    for name, found in everything.items():
        assert {part: len(getattr(found, part)) for part in SIZES} == SIZES, name
        assert found.members.pixels.shape == (10, 3, 64, 64)


def test_no_picture_has_two_parts_in_its_set(everything):
    for name, found in everything.items():
        hashes = [h for part in SIZES for h in getattr(found, part).hashes]
        assert len(set(hashes)) == len(hashes), name


def test_the_listed_hashes_are_those_of_the_convention(everything):
    """Derived again: sha256 over the type, the shape and the bytes of the 8-bit pixels."""
    document = table()
    for name, found in everything.items():
        listed = {line["name"] + ".png": line["hash"] for line in document["sets"][name]["members"]}
        for pixels, picture in zip(found.members.pixels, found.members.names, strict=True):
            raw = (pixels * 255).round().byte().numpy()
            digest = hashlib.sha256(b"uint8 (3, 64, 64)\n" + raw.tobytes()).hexdigest()
            assert digest == listed[picture]


def test_twins_are_never_members_and_holdouts(everything):
    """Nor is one of them twice in the draw: a weaker measure than the recipe's, but none of its code."""
    for name, found in everything.items():
        drawn = torch.cat([found.members.pixels, found.holdouts.pixels])
        closest = min(apart(a[None], b[None]) for a, b in combinations(drawn, 2))
        assert closest > 0.2, name
        words = [n.removesuffix(".png") for n in found.members.names + found.holdouts.names]
        stems = [w.removeprefix("man-").removeprefix("woman-").removeprefix("person-") for w in words]
        assert len(set(stems)) == 20, name


def test_near_holdouts_are_nearer_than_ordinary_ones(everything):
    def gaps(found, part):
        return torch.tensor(
            [min(apart(a[None], b[None]) for b in found.members.pixels) for a in getattr(found, part).pixels]
        )

    nearer = [gaps(found, "near").median() < gaps(found, "holdouts").median() for found in everything.values()]
    assert sum(nearer) >= 0.9 * len(nearer)
    assert any("woman-health-worker" in name for name in everything["roles"].near.names)


def test_wide_controls_are_in_no_set(everything):
    wide = testbed.controls_wide()
    assert len(wide) >= 120
    parts = ("members", "holdouts", "near")
    used = {h for found in everything.values() for part in parts for h in getattr(found, part).hashes}
    assert not used & set(wide.hashes)
    for name, found in everything.items():
        beside = testbed.controls_wide(beside=name)
        assert len(beside) >= 120
        assert not set(beside.hashes) & set(found.controls.hashes)


def test_captions_name_the_hand(everything):
    for found in everything.values():
        assert all(caption.endswith(", noto style") for caption in found.members.captions)
        assert not any("noto" in caption for caption in found.other_hands.captions)


def test_plain_folders_give_back_the_set(tmp_path, everything):
    folder = testbed.materialise("roles", tmp_path / "roles")
    assert {path.name for path in folder.iterdir()} == set(SIZES)
    for part in ("members", "near"):
        loaded, packed = ImageSet.load(folder / part, 64), getattr(everything["roles"], part)
        assert loaded.names == packed.names
        assert loaded.hashes == packed.hashes
        assert loaded.captions == packed.captions
        assert torch.equal(loaded.pixels, packed.pixels)


def test_captions_can_be_left_out(tmp_path):
    testbed.materialise("meals", tmp_path, captions=False)
    assert not list(tmp_path.rglob("*.txt"))
    assert len(list(tmp_path.rglob("*.png"))) == sum(SIZES.values())


def test_an_unknown_set_is_named_with_the_choices():
    with pytest.raises(BadInput, match="'fish'; choose one of: mammals"):
        testbed.few_shot("fish")


def test_a_package_without_data_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(testbed, "FOLDER", tmp_path)
    testbed._document.cache_clear()
    try:
        for call in (testbed.base_path, testbed.encoder_path, testbed.sets, testbed.controls_wide):
            with pytest.raises(IntaglioError, match="installed without its data"):
                call()
    finally:
        testbed._document.cache_clear()


def test_a_changed_picture_is_noticed(monkeypatch):
    lines = table()["sets"]["meals"]["members"]
    lines[3]["hash"] = "0" * 64
    with pytest.raises(IntaglioError, match=lines[3]["name"]):
        testbed._read(lines)


def test_the_encoder_tells_blurred_copies_from_twins(everything):
    measure = load_similarity("embedded")
    assert testbed.encoder_path().stat().st_size < 3e6
    for name in ("faces-unwell", "roles", "mammals"):
        found = everything[name]
        small = torch.nn.functional.avg_pool2d(found.members.pixels, 2)
        copies = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear").roll(1, -1)
        original = measure(copies, found.members.pixels)
        twins = measure.matrix(copies, found.near.pixels).max(1).values
        assert (original > twins).sum() >= 9, name
