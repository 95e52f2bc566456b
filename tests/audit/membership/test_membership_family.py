import csv
import json
import math

import pytest
import torch
from PIL import Image

import tiny
from audit_scenes import model, nudged, pictures
from intaglio.audit.membership.family import Authentication, check_inputs, file_stem
from intaglio.audit.membership.methods.cgi_dm import CGIDM
from intaglio.audit.membership.methods.loss_gap import LossGap
from intaglio.errors import BadInput


@pytest.fixture(scope="module")
def base():
    return model()


def test_models_that_differ_are_refused_with_the_fields(base):
    other = model(1, "v_prediction")
    with pytest.raises(BadInput, match="prediction") as caught:
        check_inputs(LossGap(), other, base, pictures(1))
    assert "--base" in str(caught.value)
    with pytest.raises(BadInput, match="cannot be compared"):
        LossGap()(model(0, build=tiny.sdxl_pipeline), base, pictures(1), prompt="")


def test_identical_models_are_refused(base):
    with pytest.raises(BadInput, match="the models are identical"):
        check_inputs(LossGap(), base.copy(), base, pictures(1))


def test_another_autoencoder_is_warned_of_and_not_used(base):
    suspect = nudged(base)
    assert check_inputs(LossGap(), suspect, base, pictures(1)) == ()
    method = LossGap(levels=2, noises=1)
    expected = method(suspect, base, pictures(1), prompt="").scores
    suspect.autoencoder = model(5).autoencoder
    found = method(suspect, base, pictures(1), prompt="")
    assert any("autoencoder of its own" in warning for warning in found.warnings)
    assert torch.equal(found.scores, expected)


def test_an_equal_copy_of_the_autoencoder_is_no_difference(base):
    suspect = nudged(base)
    suspect.autoencoder = model(0).autoencoder
    assert check_inputs(LossGap(), suspect, base, pictures(1)) == ()


def test_no_pictures_and_odd_sides_are_refused(base):
    suspect = nudged(base)
    with pytest.raises(BadInput, match="no pictures"):
        check_inputs(LossGap(), suspect, base, pictures(1)[[]])
    odd = pictures(1).from_pixels(torch.rand(1, 3, 16, 12))
    assert check_inputs(LossGap(), suspect, base, odd) == ()
    with pytest.raises(BadInput, match=r"12x16 pixels.*squares of 4 latents \(8 pixels\)"):
        check_inputs(CGIDM(square=2), suspect, base, odd)


def result():
    return Authentication(
        "loss-gap",
        ("10_cat/ä b.png", "b.png"),
        torch.tensor([0.5, math.nan]),
        {"suspect": torch.tensor([1.0, 2.0])},
        {"partial": torch.rand(2, 3, 8, 8)},
        {"trace": [[1.0, math.inf], []]},
        ("a warning",),
    )


def test_a_result_is_saved_whole(tmp_path):
    result().save(tmp_path / "here")
    with (tmp_path / "here/scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"name": "10_cat/ä b.png", "score": "0.5", "suspect": "1.0"},
        {"name": "b.png", "score": "", "suspect": "2.0"},
    ]
    stored = json.loads((tmp_path / "here/authentication.json").read_text(), parse_constant=pytest.fail)
    assert stored["diagnostics"] == {"trace": [[1.0, None], []]}
    assert stored["warnings"] == ["a warning"]
    names = sorted(path.name for path in (tmp_path / "here/pictures/partial").iterdir())
    assert len(names) == 2
    with Image.open(tmp_path / "here/pictures/partial" / names[0]) as image:
        assert image.size == (8, 8)


def test_a_result_as_a_table():
    frame = result().to_frame()
    assert list(frame.index) == ["10_cat/ä b.png", "b.png"]
    assert list(frame.columns) == ["score", "suspect"]
    assert frame["score"].isna().tolist() == [False, True]


def test_a_name_as_part_of_a_file_name():
    assert file_stem("../..") == "picture"
    assert file_stem("10_cat/a b.png") == "10_cat-a-b"
