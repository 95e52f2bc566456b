"""Encoders of strangers: answers that are not finite, configurations out of range; scores that are not finite."""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

import audit_scenes
from intaglio.audit.membership.audit import run_audit
from intaglio.audit.membership.family import AuditInputs
from intaglio.audit.membership.methods.cgi_dm import CGIDM
from intaglio.audit.membership.pictures import AuditPictures
from intaglio.audit.membership.result import AuditResult
from intaglio.audit.membership.verdict import judge
from intaglio.errors import BadInput
from intaglio.extract.generate import FAILED, PictureCache, SeedBatch, _kept
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import Encoder, save_encoder
from intaglio.metrics.similarity.local_networks import Preprocessing
from intaglio.metrics.similarity.measures import Embedding, check_descriptors, load_similarity
from intaglio.report.pages.audit_words import headline, lead
from intaglio.runs.tables import without_nan


def encoder(wrong: float = float("nan"), where=lambda pixels: pixels.mean((1, 2, 3)) > 0.9) -> Embedding:
    """An encoder whose answer to bright pictures is `wrong`."""

    def network(pixels):
        out = pixels.flatten(1)[:, :8] + 1.0
        return torch.where(where(pixels)[:, None], torch.full_like(out, wrong), out)

    return Embedding("bright", "0" * 64, network, torch.device("cpu"))


def pictures(*values: float) -> ImageSet:
    """One grey picture a value, with a little noise, called 0.png and so on."""
    noise = torch.rand(len(values), 3, 16, 16, generator=torch.Generator().manual_seed(1)) / 20
    grey = torch.tensor(values)[:, None, None, None] * 0.95
    return ImageSet.from_pixels(grey + noise, names=[f"{k}.png" for k in range(len(values))])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_an_answer_that_is_not_finite_is_named_by_picture(wrong):
    many = pictures(*[0.1] * 70, 1.0, 0.2, 1.0)
    with pytest.raises(BadInput, match="bright gives NaN or infinity for picture 71 of those that it was given and 1"):
        encoder(wrong).embed(many.pixels)
    with pytest.raises(BadInput, match=r"bright gives NaN or infinity for 70.png and 1 more; give another encoder"):
        check_descriptors(encoder(wrong), many.pixels, many.names)
    check_descriptors(encoder(wrong), many[:70].pixels, many[:70].names)
    assert encoder(wrong).embed(torch.ones(0, 3, 8, 8)).shape == (0, 8)  # asked with a blank picture


def test_an_audit_refuses_such_an_encoder_before_any_work():
    base = audit_scenes.model()
    inputs = AuditInputs(audit_scenes.nudged(base), base, "cat", encoder())
    for questioned, controls, name in (((0.1,), (0.2, 1.0), "controls/1.png"), ((1.0,), (0.2, 0.3), "0.png")):
        found = AuditPictures.of(pictures(*questioned), pictures(*controls), None)
        with pytest.raises(BadInput, match=f"NaN or infinity for {name};"):
            run_audit(CGIDM(steps=1, gap_samples=1), inputs, found)


def test_a_drawn_picture_without_an_answer_is_named_by_its_seed(tmp_path):
    batch, cache = SeedBatch((7, 8, 9), ("", "", "")), PictureCache(tmp_path)
    pixels = pictures(0.1, 1.0, 0.2).pixels
    with pytest.raises(BadInput, match="for the picture of seed 8;"):
        _kept(batch, pixels, encoder(), cache)
    pixels[1] = torch.nan  # a picture that failed is not shown to the encoder
    found = _kept(batch, pixels, encoder(where=lambda p: p.amax((1, 2, 3)) == 0), cache)
    assert found.left_out == (None, FAILED, None)
    assert found.descriptors.isfinite().all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_controls_without_a_score_are_counted_and_named(wrong):
    scores = np.full(5, wrong)
    found = judge(["a.png", "b.png"], [0.5, wrong], [f"c{k}.png" for k in range(5)], scores, fpr=0.25)
    assert "there are 5, of which 0 have a score" in found.statement
    assert (found.threshold.controls, found.threshold.unscored, found.threshold.value) == (0, 5, None)
    assert "5 controls have no score and are left out: c0.png, c1.png, c2.png, c3.png, c4.png" in found.warnings
    assert "1 questioned pictures have no score and no verdict: b.png" in found.warnings
    assert [row.called for row in found.rows] == [None, None]


def test_an_infinite_control_neither_raises_nor_lowers_the_threshold():
    known = np.linspace(0, 1, 19)
    clean = judge(["a"], [2.0], [f"{k}" for k in range(19)], known)
    for wrong in (np.inf, -np.inf, np.nan):
        found = judge(["a"], [2.0], [f"{k}" for k in range(20)], [*known, wrong])
        assert (found.threshold.value, found.threshold.controls) == (clean.threshold.value, 19)
        assert found.rows == clean.rows


def test_a_report_says_how_many_controls_there_were():
    found = judge(["a"], [1.0], [f"{k}" for k in range(5)], np.full(5, np.nan))
    audit = AuditResult("m", "score", "", (), (), found.threshold, found.set_test)
    for text in (headline(audit), lead(audit)):
        assert "5 controls, of which 0 have a score" in text
    assert json.dumps(without_nan({"score": float("nan")}), allow_nan=False) == '{"score": null}'


# Files of encoders


@pytest.mark.parametrize(
    "about",
    [
        {"widths": "[" * 100_000},
        {"widths": "[1e999, 1, 1]"},
        {"widths": "[1000000000, 80, 160]"},
        {"widths": "{}"},
        {"dim": "1000000000000"},
        {"dim": "-1"},
        {"size": "0"},
        {"dim": "x"},
        {"size": "9" * 5000},
    ],
    ids=range(9),
)
def test_an_encoder_of_sizes_out_of_range_is_refused_before_memory_is_taken(tmp_path, about):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "e.safetensors"
    save_encoder(Encoder((4, 8, 8), 8, 16), path)
    with safe_open(path, "pt") as file:
        tensors, known = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, path, {**known, **about})
    with pytest.raises(BadInput, match=r"e.safetensors"):
        load_similarity(path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[" * 100_000, "nests too deep"),
        ("[1]", "holds a list"),
        ('{"model_type": 5}', "has model_type 5"),
        ('{"model_type": "vit", "num_hidden_layers": 1000000}', "num_hidden_layers 1000000"),
        ('{"model_type": "vit", "num_hidden_layers": "12"}', "num_hidden_layers '12'"),
        ('{"model_type": "vit", "hidden_size": 30000, "num_hidden_layers": 12}', "larger than model.safetensors"),
        ('{"model_type": "vit", "num_attention_heads": 0}', "num_attention_heads 0"),
        ('{"model_type": "vit", "image_size": -8}', "image_size -8"),
        ('{"model_type": "clip", "vision_config": {"patch_size": 0}}', "vision_config has patch_size 0"),
        ('{"model_type": "clip", "vision_config": []}', "vision_config \\[\\]"),
        ('{"model_type": "vit", "hidden_size": NaN}', "NaN is no number"),
    ],
)
def test_a_configuration_out_of_range_is_named(tmp_path, config, words):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    with pytest.raises(BadInput, match=words):
        load_similarity(tmp_path)


@pytest.mark.parametrize("name", ["net.pt", "net.ts", "e.safetensors", "config.json"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_in_place_of_encoders_are_refused_unread(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BadInput, match=f"is a {kind}"):
        load_similarity(tmp_path if name == "config.json" else path)


@pytest.mark.parametrize(
    "preprocessing",
    [
        {"deviation": (0.0, 1.0, 1.0)},
        {"deviation": (float("nan"),) * 3},
        {"mean": (float("inf"), 0.0, 0.0)},
        {"resize": 10**9},
        {"resize": 0},
        {"crop": (-1, 5)},
        {"resize": (5, 10**6)},
    ],
)
def test_a_preprocessing_out_of_range_is_refused(preprocessing):
    with pytest.raises(ValueError, match="must be"):
        Preprocessing(**preprocessing)


def test_a_network_that_gives_nan_is_refused_from_its_file(tmp_path):
    class Nan(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :8] / 0.0 - x.flatten(1)[:, :8] / 0.0

    with pytest.warns(DeprecationWarning, match="script"):
        torch.jit.script(Nan()).save(tmp_path / "net.pt")
    found = load_similarity(tmp_path / "net.pt", preprocessing=Preprocessing())
    with pytest.raises(BadInput, match=r"TorchScript net.pt gives NaN or infinity for 0.png"):
        check_descriptors(found, pictures(0.5).pixels, ("0.png",))
