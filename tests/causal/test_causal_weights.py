"""Saving and loading of trained networks: exact round trips, and an error that names the fault of a damaged folder."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from intaglio.causal.methods.sicl.networks import weights
from intaglio.causal.methods.sicl.networks.axial import Axial, AxialShape, NodeEdge
from intaglio.causal.methods.sicl.networks.light import Light, LightShape
from intaglio.causal.methods.sicl.networks.logit_scaling import Calibration, Scaling
from intaglio.causal.methods.sicl.networks.out_of_distribution import FeatureRanges
from intaglio.causal.methods.sicl.networks.weights import (
    CARD,
    CONFIG,
    WEIGHTS,
    TrainedNetwork,
    fingerprint,
    load_network,
    network_path,
    save_network,
)
from intaglio.errors import BadInput

SMALL = AxialShape(width=8, heads=2, blocks=1)
NETWORKS = {
    "light": lambda: Light(LightShape(width=8, heads=2, blocks=0, factors=2, pair_width=8, pair_layers=1, channels=4)),
    "axial": lambda: Axial(SMALL),
    "node-edge": lambda: NodeEdge(SMALL),
}


def trained(kind="light", **changes) -> TrainedNetwork:
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(1)
        network = NETWORKS[kind]()
    return TrainedNetwork(
        **{
            "kind": kind,
            "network": network,
            "context": 12,
            "calibration": Calibration(skeleton=Scaling((0.1, 0.2, 1 / 3), (-1.0, 0.5, 0.0))),
            "ranges": FeatureRanges({"rows": 1.0}, {"rows": 3.5}),
            "score_weights": {"linear, few rows": 0.25},
            "facts": {"steps": 7, "calibration": {"ece": 0.01}},
            **changes,
        }
    )


@pytest.fixture
def folder(tmp_path):
    save_network(trained(), tmp_path / "net", "# A card\n")
    return tmp_path / "net"


def changed(folder, **fields):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **fields}))


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_what_is_read_is_what_was_written_in_half_precision(tmp_path, kind):
    made = trained(kind)
    save_network(made, tmp_path / "net", "# A card\n")
    stored = load_file(tmp_path / "net" / WEIGHTS)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    found = load_network(str(tmp_path / "net"))
    mine = made.network.state_dict()
    for name, tensor in found.network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, mine[name].half().float())
    assert type(found.network) is type(made.network)
    assert found.network.shape == made.network.shape
    for name in ("kind", "context", "calibration", "ranges", "score_weights", "facts"):
        assert getattr(found, name) == getattr(made, name)
    assert not found.network.training
    assert not any(weight.requires_grad or weight.is_meta for weight in found.network.parameters())
    assert (tmp_path / "net" / CARD).read_text() == "# A card\n"


def test_reading_draws_no_random_numbers(folder):
    before = torch.random.get_rng_state()
    load_network(str(folder))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_fingerprint_is_of_what_decides_the_answers(folder, tmp_path):
    first = fingerprint(folder)
    assert load_network(str(folder)).fingerprint == first
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == first
    (folder / CARD).write_text("other words")
    assert fingerprint(folder) == first
    changed(folder, context=13)
    second = fingerprint(folder)
    assert second != first
    held = load_file(folder / WEIGHTS)
    held["node.1.bias"][0] += 1
    save_file(held, folder / WEIGHTS)
    assert fingerprint(folder) not in (first, second)


def test_a_saved_network_takes_the_place_of_another_whole(folder):
    save_network(trained("node-edge"), folder, "# Another\n")
    assert load_network(str(folder)).kind == "node-edge"
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, WEIGHTS, CARD])


def without(name):
    def damage(folder):
        config = json.loads((folder / CONFIG).read_text())
        del config[name]
        (folder / CONFIG).write_text(json.dumps(config))

    return damage


def put(**fields):
    return lambda folder: changed(folder, **fields)


def shape(**fields):
    def damage(folder):
        changed(folder, shape={**json.loads((folder / CONFIG).read_text())["shape"], **fields})

    return damage


def held(change):
    def damage(folder):
        stored = load_file(folder / WEIGHTS)
        change(stored)
        save_file(stored, folder / WEIGHTS)

    return damage


def poisoned(stored):
    stored["node.1.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / CONFIG).unlink(), r"config\.json cannot be read"),
        (lambda folder: (folder / CONFIG).write_text("{"), r"config\.json is no readable JSON .*give the folder"),
        (lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe"), r"config\.json is not UTF-8"),
        (lambda folder: (folder / CONFIG).write_text("[]"), "no network's configuration of format 1"),
        (put(format=2), "no network's configuration of format 1"),
        (without("refinement"), "lacks 'refinement'"),
        (put(kind="heavy"), "'heavy' is no kind of network; there are light, axial, node-edge"),
        (put(kind=["light"]), "'kind' is damaged"),
        (put(shape=[1, 2]), "'shape' is damaged"),
        (shape(depth=3), "not understood .*depth"),
        (shape(width=0), "width is 0"),
        (shape(heads=-2), "heads is -2"),
        (shape(heads=3), "3 heads do not divide a width of 8"),
        (shape(width="8"), "'shape' is damaged"),
        (shape(pair_width=16), "does not fit its configuration"),
        (put(context=0), "'context' is damaged"),
        (put(context="48"), "'context' is damaged"),
        (put(calibration={"skeleton": {"slope": [1, 2]}}), "'calibration' is damaged"),
        (put(calibration={"other": {"slope": [1, 2, 3], "offset": [1, 2, 3]}}), "'calibration' is damaged"),
        (put(calibration=3), "'calibration' is damaged"),
        (put(low=[]), "'low' is damaged"),
        (put(high={}), "'high' is damaged"),
        (put(refinement={"linear, few rows": "much"}), "'refinement' is damaged"),
        (put(refinement={"linear, few rows": -1}), "'refinement' has -1 for 'linear, few rows', where 0 to 100 is due"),
        (put(refinement={"linear, few rows": 1e12}), r"'refinement' has 1e\+12 for 'linear, few rows'"),
        (
            put(calibration={"skeleton": {"slope": [1e9, 0.0, 0.0], "offset": [0.0, 0.0, 0.0]}}),
            r"'calibration' has a slope of 1e\+09 for 'skeleton', beyond 1000",
        ),
        (put(low={"rows": 2.0}, high={"rows": 1.0}), "'low' has 2 for 'rows', which is above 'high', 1"),
        (lambda folder: (folder / WEIGHTS).unlink(), r"model\.safetensors does not exist"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"none"), r"model\.safetensors cannot be read"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]), "truncated"),
        (held(lambda stored: stored.pop("node.1.bias")), "does not fit its configuration .*node.1.bias"),
        (held(lambda stored: stored.update(more=torch.zeros(2))), "does not fit its configuration .*more"),
        (held(poisoned), "not finite"),
    ],
)
def test_each_damaged_folder_names_its_fault(folder, damage, words):
    damage(folder)
    with pytest.raises(BadInput, match=words):
        load_network(str(folder))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_a_pickle_is_refused_and_never_opened(folder, tmp_path):
    torch.save({"a": Bomb()}, tmp_path / "net.pt")
    with pytest.raises(BadInput, match="holds pickled network's weights"):
        load_network(str(tmp_path / "net.pt"))
    torch.save({"a": Bomb()}, folder / WEIGHTS)
    with pytest.raises(BadInput, match="pickled network's weights"):
        load_network(str(folder))
    (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput, match="cannot be read"):
        load_network(str(folder))


def test_names_are_of_the_package_and_all_else_is_a_folder(folder, monkeypatch):
    assert "light" in weights.network_names()
    assert network_path("light") == weights.SHIPPED / "light"
    monkeypatch.chdir(folder)
    assert load_network(".").kind == "light"
    assert network_path(".").resolve() == folder
    for nothing in ("nowhere", "", "light/"):
        if nothing:
            with pytest.raises(BadInput, match=f"{nothing} is neither a folder nor a network of the package: "):
                network_path(nothing)
    (folder / "file.txt").write_text("no network")
    with pytest.raises(BadInput, match="neither a folder nor"):
        network_path("file.txt")
