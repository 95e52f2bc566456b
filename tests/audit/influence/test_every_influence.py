"""Shared claims about every influence; a method joins by its file and its own test."""

import json
from dataclasses import replace

import pytest
import torch

import tiny
from audit_scenes import nudged, pictures
from influence_scenes import examples
from intaglio.audit.influence.audit import audit_influence
from intaglio.audit.influence.gradient_features import GradientInfluence
from intaglio.audit.influence.methods.grad_dot import GradDot
from intaglio.audit.influence.result import InfluenceScores
from intaglio.cli import main
from intaglio.commands.kit.source_settings import load
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import save_png
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.lora.lora import LoRA
from intaglio.runs.run import Run
from rows import flags, matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "audit influence"]
every_influence = pytest.mark.parametrize("row", ROWS)


def made(row):
    return load(row.target)(**row.small)


def some(one: Examples, places) -> Examples:
    return Examples(one.images[places], tuple(one.prompts[i] for i in places), one.latents[list(places)])


@every_influence
def test_neither_the_order_nor_the_company_of_pictures_matters(row):
    net, train, queries = examples()
    method = made(row)
    assert min(len(method.reading), len(method.unit)) > 10
    found = method(net, train, queries).tau
    turned = method(net, some(train, [3, 1, 0, 2]), some(queries, [1, 0])).tau
    torch.testing.assert_close(turned, found[[1, 0]][:, [3, 1, 0, 2]], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(method(net, train, some(queries, [1])).tau, found[[1]], rtol=1e-4, atol=1e-6)


@every_influence
def test_what_it_cannot_ask_about_is_refused_before_any_work(row, monkeypatch):
    net, train, queries = examples()
    method = made(row)
    monkeypatch.setattr(net, "embed", lambda *given, **more: pytest.fail("worked"))
    wide, thin = (
        replace(queries, latents=torch.zeros(shape)) for shape in ((2, net.latent_channels, 2, 2), (2, 1, 8, 8))
    )
    for words, refused in {
        "there are no training pictures .* --train": lambda: method(net, some(train, []), queries),
        "there are no pictures .* --images": lambda: method(net, train, some(queries, [])),
        "latent cells": lambda: method(net, train, wide),
        "latents of 1 channels": lambda: method(net, train, thin),
    }.items():
        with pytest.raises(BadInput, match=words):
            refused()
    with pytest.raises(BadInput, match=f"{row.method} needs a model that .*; TarFlow does not"):
        check_needs(method, tiny.flow(double=False))


def test_weights_that_are_not_there_or_too_many_to_keep_whole_are_refused(monkeypatch):
    net, train, queries = examples()
    monkeypatch.setattr("intaglio.learning.projection.MOST_WHOLE", 100)
    with pytest.raises(BadInput, match=r"too many to be kept whole, 100 being the most; give a --width"):
        GradDot(width=0)(net, train, queries)
    monkeypatch.setattr(type(net.family), "targets", ("nowhere",))
    with pytest.raises(BadInput, match="none of the weights of --weights attention; take --weights all"):
        GradDot()(net, train, queries)


def test_more_weights_give_longer_gradients():
    net, train, queries = examples()
    norms = [
        float(GradDot(timesteps=1, weights=weights, width=4096)(net, train, queries).tau[1, 2])
        for weights in ("attention", "layers", "all")
    ]
    assert norms[0] < norms[1] < norms[2]


def test_a_lora_beside_its_base_is_asked_as_the_merged_model_is():
    net, train, queries = examples()
    adapter = LoRA.new(net, 2, 2.0, generator=torch.Generator().manual_seed(0))
    for _, _, layer in adapter.pairs():
        torch.nn.init.normal_(layer.up, std=0.3, generator=torch.Generator().manual_seed(1))
    for tensor in adapter.parameters():
        tensor.requires_grad_(False)
    beside = Adapted(net, adapter)
    method = GradDot(timesteps=2, width=0)
    found = method(beside, train, queries).tau
    torch.testing.assert_close(found, method(beside.merged(), train, queries).tau, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(found, method(net, train, queries).tau, rtol=1e-2)


def test_the_noise_of_a_timestep_is_its_own_and_the_same_for_all_pictures():
    """Not of its place in a batch, and not of how many timesteps there are."""
    net, train, _ = examples()
    shape = tuple(train.latents.shape[1:])

    def noises(**settings):
        parts = list(GradDot(**settings).noised(net, shape))
        return dict(zip(torch.cat([t for _, t in parts]).tolist(), torch.cat([e for e, _ in parts]), strict=True))

    ten, five = noises(timesteps=10, micro_batch=3), noises(timesteps=5, micro_batch=64)
    assert list(ten) == list(range(0, 1000, 100))
    assert all(torch.equal(ten[t], five[t]) for t in five)
    assert len({float(one.sum()) for one in ten.values()}) == 10


def test_numbers_that_are_not_finite_are_told_with_the_picture(monkeypatch):
    net, train, queries = examples()
    train.latents[3] = torch.nan
    with pytest.raises(IntaglioError, match=f"the gradient of {train.names[3]} is not finite with {net.name}"):
        GradDot(timesteps=1)(net, train, queries)
    monkeypatch.setattr(GradDot, "compared", lambda self, asked, rows: asked @ rows.T / 0)
    with pytest.raises(IntaglioError, match=f"the influences on {queries.names[0]} are not finite"):
        GradDot(timesteps=1)(net, some(train, [0, 1]), queries)


@every_influence
def test_what_was_stored_of_another_model_or_another_set_is_not_taken(row, tmp_path):
    net, train, queries = examples()
    method, other, inputs = made(row), nudged(net, 0.5), {"model": {"path": "x", "sha256": "0" * 64}}
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path, "verb", "m", {}, inputs, **about) as run:
        method(net, train, queries, run=run)
        for one, few in ((other, train), (net, some(train, [2, 3]))):
            found, anew = method(one, few, queries, run=run).tau, method(one, few, queries).tau
            torch.testing.assert_close(found, anew, rtol=1e-4, atol=1e-6)


def test_gradients_are_dropped_once_the_result_is_safe(tmp_path):
    net, train, queries = examples()
    inputs = {"model": {"path": "x", "sha256": "0" * 64}}
    with Run.open(tmp_path, "verb", "m", {}, inputs, seed=0, device="cpu", command=(), progress="none") as run:
        method = GradDot(timesteps=1)
        audit_influence(method, net, train, queries, run=run)
        stored = list((run.folder / "states").rglob("*.safetensors"))
        assert len(stored) == 5  # four training pictures, one of them asked about, and one more
        method.forget(net, train.asked, queries.asked, run)
        assert not list((run.folder / "states").rglob("*.safetensors"))
    assert issubclass(GradDot, GradientInfluence)


def scores(tau) -> InfluenceScores:
    return InfluenceScores(
        "trak", "reading", "unit", ("a", "b", "c"), ("x", "y", "z"), ("1", "2", "3"), ("q", "r"), ("u", "v"),
        ("9", "2"), torch.tensor(tau, dtype=torch.float64),
    )  # fmt: skip


def test_pairs_are_ranked_by_query_and_a_picture_knows_itself():
    found = scores([[0.5, -2.0, 0.5], [1.0, 3.0, -1.0]])
    assert [found.ranking(0), found.ranking(1)] == [[0, 2, 1], [1, 0, 2]]
    assert (found.proponents(0, 5), found.opponents(0, 5), found.proponents(0, 1)) == ([0, 2], [1], [0])
    assert scores([[-0.5, -2.0, 0.5], [0.0] * 3]).opponents(0, 5) == [1, 0]
    assert scores([[-0.5, -2.0, 0.5], [0.0] * 3]).opponents(1, 5) == []
    assert (found.own_ranks, found.is_itself(1, 1), found.is_itself(0, 0)) == ({1: 1}, True, False)
    assert [(r["query"], r["rank"], r["example"], r["itself"]) for r in found.rows()][3:5] == [
        ("r", 1, "b", True),
        ("r", 2, "a", False),
    ]
    assert found.to_frame().loc["r", "c"] == -1
    assert found.statement.startswith("3 training pictures ranked for 2 pictures; for q, a stands first.")


def test_a_stored_result_with_missing_numbers_is_refused(tmp_path):
    scores([[0.5, -2.0, 0.5], [1.0, 3.0, -1.0]]).save(tmp_path)
    stored = json.loads((tmp_path / "influence.json").read_text())
    stored["tau"] = stored["tau"][:1]
    (tmp_path / "influence.json").write_text(json.dumps(stored))
    with pytest.raises(BadInput, match="has a value of another kind"):
        InfluenceScores.load(tmp_path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny.sd_folder(root / "base")
    train, other = pictures(4), pictures(1, seed=5)
    for k, pixels in enumerate(train.pixels):
        save_png(pixels, root / "train" / f"{k}.png")
        (root / "train" / f"{k}.txt").write_text(f"{'red' if k % 2 else 'big'} cat")
    save_png(train.pixels[2], root / "asked" / "known.png")
    (root / "asked" / "known.txt").write_text("big cat")
    save_png(other.pixels[0], root / "asked" / "<i>new.png")
    return root


def words_of(root, tmp_path, *further):
    words = ["audit", "influence", "trak", "--model", str(root / "base"), "--train", str(root / "train"), "--images"]
    return [*words, str(root / "asked"), "--runs", str(tmp_path), *flags({"timesteps": 2, "width": 512}), *further]


def test_the_command_shows_each_picture_beside_its_proponents_and_opponents(folders, tmp_path, capsys):
    words = words_of(folders, tmp_path, "--prompt", "a dog", "--shown", "1", "--quiet")
    assert main(words) == 0
    said = capsys.readouterr().out
    (folder,) = tmp_path.glob("audit-influence-trak-*")
    found = InfluenceScores.load(folder)
    assert dict(zip(found.queries, found.query_prompts, strict=True)) == {"<i>new.png": "a dog", "known.png": "big cat"}
    known = found.queries.index("known.png")
    assert found.own_ranks == {known: 1}
    assert "2.png" in said.splitlines()[1 + known]
    page = (folder / "report.html").read_text()
    assert "2.png: " in page
    assert "the picture itself" in page
    assert "&lt;i&gt;new.png" in page
    assert "<i>new.png" not in page
    assert page.count("<img class") == 2 + sum(
        len(side(query, 1)) for query in range(2) for side in (found.proponents, found.opponents)
    )
    assert not list((folder / "states").rglob("*.safetensors"))
    record = json.loads((folder / "run.json").read_text())
    (folder / "influence.csv").unlink()
    assert main(words) == 0  # its result is gone, so it is made again, the same
    assert json.loads((folder / "run.json").read_text())["summary"] == record["summary"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "<i>new.png has no caption; give --prompt"),
        (("--prompt", "x", "--shown", "0"), "shown must be 1 to 12"),
        (("--prompt", "x", "--train", "nowhere"), "nowhere does not exist; check the path of --train"),
        (("--prompt", "x", "--width", "0"), "kept whole"),
    ],
)
def test_bad_input_is_told(folders, tmp_path, capsys, given, words, monkeypatch):
    monkeypatch.setattr("intaglio.learning.projection.MOST_WHOLE", 100)
    assert main(words_of(folders, tmp_path, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("audit-*"))
