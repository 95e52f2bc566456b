"""Profiles in files: the same bits back, whoever tampers is found, and no name of an owner inside."""

import getpass
import json
import pickle
import platform
import random
import time
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from energy_networks import STEP, head
from energy_profiles import small_profile
from intaglio.energy.layers.layer import SizedLayer, Step, step_of
from intaglio.energy.methods.thor import Thor
from intaglio.energy.profile import known_fits, profile_file
from intaglio.energy.profile.anonymous import without_owner
from intaglio.energy.profile.profile_document import to_document
from intaglio.energy.profile.profile_file import content_hash, load_profile, save_profile
from intaglio.errors import BadInput, IntaglioError

BOTH = pytest.mark.parametrize("suffix", [".json", ".safetensors"])


def stored(profile, folder, name="profile.json"):
    save_profile(profile, folder / name)
    return folder / name


def rewritten(path, change, *, honest=True):
    """The JSON file with a change of its document, and a hash that fits it unless it is to be a forgery."""
    document = json.loads(path.read_text())
    change(document)
    if honest:
        rest = {key: value for key, value in document.items() if key != "sha256"}
        canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
        document["sha256"] = sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(document))
    return path


@BOTH
def test_a_profile_comes_back_bit_by_bit(tmp_path, suffix):
    profile = small_profile()
    written = save_profile(profile, tmp_path / f"a{suffix}")
    found = load_profile(tmp_path / f"a{suffix}")
    assert to_document(found) == to_document(profile) == to_document(written)
    for one, other in zip(found.families, profile.families, strict=True):
        assert (one.family, one.low, one.high, one.fit, one.time_fit) == (
            other.family,
            other.low,
            other.high,
            other.fit,
            other.time_fit,
        )
        for name in ("sizes", "amounts", "variances", "seconds", "seconds_variances"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
            assert getattr(one, name).shape == getattr(other, name).shape
    assert dict(found.calibration[0].step.layers) == dict(profile.calibration[0].step.layers)
    save_profile(found, tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_both_formats_carry_the_hash_that_the_format_states(tmp_path):
    save_profile(small_profile(), tmp_path / "a.json")
    save_profile(small_profile(), tmp_path / "a.safetensors")
    document = json.loads((tmp_path / "a.json").read_text())
    said = document.pop("sha256")
    assert said == sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert said.encode() in (tmp_path / "a.safetensors").read_bytes()


@BOTH
def test_a_loaded_profile_predicts_the_same_without_a_fit(tmp_path, suffix, monkeypatch):
    profile = small_profile()
    bare = replace(profile, families=tuple(replace(one, fit=None, time_fit=None) for one in profile.families))
    step = step_of([head(100), SizedLayer(STEP)])
    expected = Thor()(bare)(step)
    save_profile(bare, tmp_path / f"a{suffix}")

    def never(*args, **settings):
        raise AssertionError("a fit")

    for module in (known_fits, __import__("intaglio.energy.methods.thor", fromlist=["x"])):
        monkeypatch.setattr(module, "family_process", never)
    found = Thor()(load_profile(tmp_path / f"a{suffix}"))(step)
    assert (found.amount, found.sd, found.seconds) == (expected.amount, expected.sd, expected.seconds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["families"][0]["amount_per_call"].__setitem__(0, 9.0), "was changed after it was made"),
        (lambda d: d.update(made="2027"), "was changed after it was made"),
        (lambda d: d["meter"].update(relative_sd=0.0), "was changed after it was made"),
    ],
)
def test_a_forgery_is_found(tmp_path, change, words):
    with pytest.raises(BadInput, match=words):
        load_profile(rewritten(stored(small_profile(), tmp_path), change, honest=False))


def test_a_forged_array_is_found(tmp_path):
    path = stored(small_profile(), tmp_path, "a.safetensors")
    content = bytearray(path.read_bytes())
    content[-8:] = np.float64(1e-9).tobytes()
    path.write_bytes(content)
    with pytest.raises(BadInput, match="was changed after it was made"):
        load_profile(path)


def family(document):
    return document["families"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(schema=2), "has schema 2, and this version of Intaglio reads 1; update Intaglio"),
        (lambda d: d.update(format="other"), "has format 'other'"),
        (lambda d: d.update(unit="kWh"), "has unit 'kWh', where one of J, CPU-s is due"),
        (lambda d: d.update(provenance="guessed"), "has provenance 'guessed'"),
        (lambda d: d.pop("device"), "lacks device"),
        (lambda d: d["device"].update(model={"a": 1}), "has model that holds a table"),
        (lambda d: d["layer_families"][0].update(kind="magic"), "layer_families 0 has kind 'magic'"),
        (lambda d: d["layer_families"][0].update(dtype="int3"), "has dtype 'int3'"),
        (lambda d: d["layer_families"][0].update(train="yes"), "has train 'yes'"),
        (lambda d: d["layer_families"][0]["fixed"].update(depth=3), "fixes 'depth', which is no size of linear"),
        (lambda d: d["layer_families"][2]["attributes"].update(groups=0), "which cannot be"),
        (lambda d: d["layer_families"][2]["attributes"].update(groups="many"), "which cannot be"),
        (
            lambda d: d["layer_families"][2]["attributes"].update(taps="9"),
            "holds taps of convolution as a word and as a",
        ),
        (lambda d: d["layer_families"].__setitem__(1, d["layer_families"][0]), "holds a family of layers twice"),
        (lambda d: family(d).update(low=[8]), "has low that are not 2 whole numbers"),
        (lambda d: family(d).update(low=[512, 10]), "which are not in order"),
        (lambda d: family(d)["sizes"].__setitem__(0, [8, 0]), "has sizes that are not 2 whole numbers"),
        (lambda d: family(d)["sizes"].__setitem__(0, [8.5, 10]), "has sizes that are not 2 whole numbers"),
        (lambda d: family(d)["sizes"].pop(), "where a list of 5 numbers is due"),
        (lambda d: family(d).update(sizes=[]), "lacks sizes of 1 to 2000 points"),
        (lambda d: family(d)["amount_variance"].__setitem__(0, -1.0), "has a variance below 0"),
        (lambda d: family(d)["amount_per_call"].__setitem__(0, 1e300), "has amount_per_call beyond every cost"),
        (lambda d: family(d)["seconds_per_call"].__setitem__(0, 1e-300), "has seconds_per_call beyond every cost"),
        (lambda d: family(d)["fit"].update(tiles=[7, 1]), "has tiles"),
        (lambda d: family(d)["fit"].update(lengths=[0.5, 0.5]), "where a list of 1 numbers is due"),
        (lambda d: family(d)["fit"].update(lengths=[9.0]), "has a length scale of 9"),
        (lambda d: family(d)["fit"].update(signal=0.0), "has a signal's variance of 0"),
        (lambda d: family(d)["fit"].update(noise=-1.0), "has a noise's variance of -1"),
        (lambda d: d["calibration"][0]["layers"].append([99, 1, 8, 8]), "has layer"),
        (lambda d: d["calibration"][0]["layers"].append([0, 0, 8, 8]), "has layer"),
        (lambda d: d["calibration"][0].update(unparsed={"sort": -1}), "has sort -1"),
        (lambda d: d["meter"].update(relative_sd=-1), "has relative_sd -1"),
        (lambda d: d.update(families=3), "lacks the list families"),
        (lambda d: d.update(notes=[3]), "lacks the list of texts notes"),
        (lambda d: d.update(made="x" * 501), "has made of 501 characters"),
    ],
)
def test_values_that_cannot_be_are_named(tmp_path, change, words):
    path = rewritten(stored(small_profile(), tmp_path), change)
    with pytest.raises(BadInput, match=words) as caught:
        load_profile(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith(("energy profile", "update Intaglio"))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, number):
    path = stored(small_profile(), tmp_path)
    path.write_text(path.read_text().replace('"kink": null', f'"kink": {number}', 1))
    with pytest.raises(BadInput, match="is no readable JSON"):
        load_profile(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a["families.0.amount_per_call"].__setitem__(0, np.nan), "or not finite"),
        (lambda a: a.update({"families.0.sizes": a["families.0.sizes"].astype(np.float64)}), "sizes of family 0 as f"),
        (lambda a: a.update({"families.0.sizes": a["families.0.sizes"][:, :1].copy()}), "not 2 whole numbers"),
        (lambda a: a.pop("families.1.seconds_variance"), "seconds_variance"),
        (lambda a: a.update(weights=np.zeros(3)), "holds weights, which is no part of a profile"),
    ],
)
def test_arrays_that_cannot_be_are_named(tmp_path, change, words):
    path = stored(small_profile(), tmp_path, "a.safetensors")
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path, header["__metadata__"])
    with pytest.raises(BadInput, match=words):
        load_profile(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pkl", b"", "is no profile of energy by its name"),
        ("a.json", b"[]", "holds a list where a table"),
        ("a.json", b"{", "is no readable JSON"),
        ("a.json", b" " * (2**24 + 1), "is larger than 16 MB"),
        ("a.safetensors", b"", "cannot be read as safetensors"),
        ("a.safetensors", b"\xff" * 100, "cannot be read as safetensors"),
        ("a.safetensors", pickle.dumps([1]), "holds a pickle, which is never loaded"),
        ("a.json", pickle.dumps([1]), "holds a pickle, which is never loaded"),
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        load_profile(tmp_path / name)


def test_other_safetensors_and_missing_files_are_refused(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="lacks intaglio"):
        load_profile(tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="gone.json"):
        load_profile(tmp_path / "gone.json")
    with pytest.raises(BadInput, match="is no profile of energy by its name"):
        save_profile(small_profile(), tmp_path / "a.bin")


@BOTH
def test_no_name_of_an_owner_is_in_the_bytes(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "maria-laptop.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "maria")
    uuid = "GPU-0a1b2c3d-1234-5678-9abc-0a1b2c3d4e5f"
    network = small_profile().calibration[0]
    named = replace(
        small_profile(),
        device={"model": f"Simulator {uuid}", "kind": "cpu"},
        meter={"name": "trace", "from": "/home/maria/trace.csv"},
        notes=("on maria-laptop by maria, mail maria@example.org", r"C:\Users\maria\a.csv", "samples/maria/fine"),
        calibration=(replace(network, name="net of maria", step=replace(network.step, notes=("~/nets/a.py",))),),
    )
    written = save_profile(named, tmp_path / f"a{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    for secret in (b"maria", b"0a1b2c3d", b"/home", b"Users", b"example.org", b"a.py"):
        assert secret not in content
    assert written.device["model"] == "Simulator (removed)"
    assert written.meter["name"] == "trace"
    assert to_document(load_profile(tmp_path / f"a{suffix}")) == to_document(written)


@pytest.mark.parametrize("letters", ["a", "/", "\\", "a.", "-", "~/", "0a:", "a@", "//a"])
def test_long_texts_of_strangers_are_cleaned_in_linear_time(letters):
    began = time.process_time()
    without_owner({"notes": [letters * 50_000]})
    assert time.process_time() - began < 1.0


def test_a_user_of_the_vendor_s_name_leaves_the_vendor(tmp_path, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "NVIDIA")
    written = save_profile(replace(small_profile(), device={"model": "NVIDIA Jetson"}), tmp_path / "a.json")
    assert written.device["model"] == "NVIDIA Jetson"


@pytest.mark.parametrize("key", ["serial", "hostname", "gpu_uuid", "user", "trace_path"])
def test_facts_that_tell_the_owner_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match=f"device holds '{key}'"):
        save_profile(replace(small_profile(), device={key: "x"}), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_values_that_cannot_be_are_not_written(tmp_path):
    wrong = replace(small_profile(), unit="kWh")
    with pytest.raises(ValueError, match="has unit 'kWh'"):
        save_profile(wrong, tmp_path / "a.json")
    first, *rest = small_profile().families
    nan = replace(first, amounts=np.full_like(first.amounts, np.nan))
    with pytest.raises(ValueError, match=r"JSON compliant"):
        save_profile(replace(small_profile(), families=(nan, *rest)), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_profile_beyond_the_limit_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(profile_file, "LARGEST", 1000)
    with pytest.raises(BadInput, match="would be larger than"):
        save_profile(small_profile(), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = stored(small_profile(), tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr("intaglio.files._sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(IntaglioError, match="the disk is full"):
        save_profile(replace(small_profile(), made="2027"), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_the_hash_is_of_content_not_of_order():
    document = {"a": 1, "b": [0.1, 2]}
    assert content_hash(document) == content_hash({"b": [0.1, 2], "sha256": "x", "a": 1})
    assert content_hash(document) != content_hash({"a": 1, "b": [0.1, 3]})


def test_unparsed_work_of_a_network_is_kept(tmp_path):
    network = small_profile().calibration[0]
    step = Step(network.step.layers, {"sort": 12.0}, ("a note",))
    path = stored(replace(small_profile(), calibration=(replace(network, step=step),)), tmp_path)
    found = load_profile(path).calibration[0].step
    assert (dict(found.unparsed), found.notes) == ({"sort": 12.0}, ("a note",))


def test_a_kink_that_could_not_be_told_is_unknown(tmp_path):
    first, *rest = small_profile().families
    path = stored(replace(small_profile(), families=(replace(first, kink=float("nan")), *rest)), tmp_path)
    assert load_profile(path).families[0].kink is None


def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path):
    """The first byte of a .safetensors file is that of the header's length: 0x80 for some, as of a pickle."""
    found = set[bytes]()
    for letters in range(0, 256, 8):
        path = stored(replace(small_profile(), notes=("x" * letters,)), tmp_path, "a.safetensors")
        found.add(path.read_bytes()[:1])
        assert load_profile(path).notes == ("x" * letters,)
    assert b"\x80" in found


def test_a_family_below_the_meter_s_resolution_is_read_and_shown(tmp_path):
    first, *rest = small_profile().families
    dim = replace(first, amounts=-first.amounts)
    path = stored(replace(small_profile(), families=(dim, *rest)), tmp_path)
    assert known_fits.cost_process(load_profile(path).families[0]) is None
    bare = stored(replace(small_profile(), families=(replace(dim, fit=None), *rest)), tmp_path)
    assert load_profile(bare).families[0].fit is None


def test_random_damage_is_never_more_than_bad_input(tmp_path):
    """Values of other kinds anywhere, under a hash that fits: the file is read, or refused in a sentence."""
    path, rng = stored(small_profile(), tmp_path), random.Random(0)
    base = path.read_text()
    odd = [None, 0, -1, 1e300, 5e-324, "", "linear", True, [], {}, [1], 2**47, 10**18]
    refused = 0
    for _ in range(90):
        document = json.loads(base)
        where, key = rng.choice([(inner, key) for inner in inners(document) for key in keys(inner)])
        where[key] = rng.choice(odd)
        path.write_text(json.dumps({**document, "sha256": content_hash(document)}))
        try:
            Thor()(load_profile(path))
        except BadInput:
            refused += 1
    assert refused > 60


def inners(value):
    """Every table and list within a value, itself first."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from inners(inner)


def keys(inner):
    return list(inner) if isinstance(inner, dict) else range(len(inner))
