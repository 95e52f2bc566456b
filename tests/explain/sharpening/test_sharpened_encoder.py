"""A result: what it says, what it warns of, and the file of the encoder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.sharpening.copy_checks import CopyScores
from intaglio.explain.sharpening.methods.genhancer import GenHancer
from intaglio.explain.sharpening.result import ENCODER_FILE, SharpenedEncoder
from intaglio.metrics.similarity.encoder import metadata, stored_state
from intaglio.metrics.similarity.measures import load_similarity
from sharpening_scenes import SMALL, blind_encoder, blue_pictures


@pytest.fixture(scope="module")
def found():
    images, latents, _ = blue_pictures(30)
    return GenHancer(**{**SMALL, "encoder_rate": 1e-2})(blind_encoder(), images, latents, of="blind")


def test_the_file_gives_the_descriptors_that_were_measured(found, tmp_path):
    found.save(tmp_path)
    images, _, _ = blue_pictures(30)
    read = load_similarity(tmp_path / ENCODER_FILE)
    new = read.embed(images.pixels)
    torch.testing.assert_close(new, found.encoder(images.pixels), rtol=0, atol=1e-6)
    places = [images.names.index(name) for name in found.names]
    old = blind_encoder()(images.pixels)
    torch.testing.assert_close((new * old).sum(1)[places].double(), torch.from_numpy(found.kept), rtol=0, atol=1e-5)
    assert metadata(tmp_path / ENCODER_FILE)["sharpened_by"] == "genhancer"
    stored = SharpenedEncoder.load(tmp_path)
    assert stored.statement == found.statement
    assert stored.rows() == found.rows()
    assert {name: one.dtype for name, one in stored.weights.items()} == {
        name: one.dtype for name, one in stored_state(found.encoder).items()
    }


def scores(hits, height):
    own = np.full((20, 2), height)
    twins = np.full((20, 2, 2), 0.5)
    return CopyScores(own, twins, np.full((20, 2), hits), 0.5)


def test_drift_is_told_below_a_cosine_of_point_9(found):
    assert "another encoder" in " ".join(replace(found, kept=np.full(len(found.names), 0.89)).warnings)
    assert "another encoder" not in " ".join(replace(found, kept=np.full(len(found.names), 0.91)).warnings)


def test_gains_and_their_warning(found):
    some = {"names": tuple(f"p{k}" for k in range(20))}
    losses = {name: np.ones(20) for name in ("kept", "loss_before", "loss_after")}
    better = replace(
        found, before=scores(False, 0.4), after=scores(True, 0.6), loss_mistaken=np.full(20, 1.2), **some, **losses
    )
    figures = better.figures()
    assert (figures["nearest_gain"], figures["found_gain"]) == (1.0, 1.0)
    assert figures["found_gain_interval"] == [1.0, 1.0]
    assert better.warnings == []
    same = replace(better, after=better.before, loss_mistaken=np.ones(20))
    told = " ".join(same.warnings)
    assert "found no better than before" in told
    assert "another picture's descriptor" in told


def test_few_pictures_and_unfit_latents_are_refused():
    images, latents, _ = blue_pictures(30)
    with pytest.raises(BadInput, match="11 pictures, too few"):
        GenHancer(**SMALL)(blind_encoder(), images[:11], latents[:11])
    with pytest.raises(BadInput, match="do not fit 30 pictures"):
        GenHancer(**SMALL)(blind_encoder(), images, latents[:, :, :1, :1])
