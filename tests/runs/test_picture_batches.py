"""Records of an audit: found again only for the very picture, weights, prompt and settings they were made of."""

from dataclasses import replace

import pytest
import torch

from audit_scenes import model, nudged, pictures
from intaglio.audit.membership.family import AuditInputs
from intaglio.audit.membership.methods.pia import PIA
from intaglio.audit.membership.work_key import work_key
from intaglio.images.image_set import ImageSet
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.run import Run

ABOUT = {"seed": 0, "device": "cpu", "command": ["x"], "progress": "none"}


@pytest.fixture
def run(tmp_path):
    with Run.open(tmp_path, "authenticate", "toy", {}, {}, **ABOUT) as opened:
        yield opened


def means(seen: list, images: ImageSet) -> dict[str, torch.Tensor]:
    seen.append(len(images))
    return {"mean": images.pixels.mean((1, 2, 3))}


def scored(run, key, images, batch=2) -> tuple[list[int], list[float]]:
    seen: list[int] = []
    found = in_batches(run, "toy", key, images, lambda part: means(seen, part), batch=batch)
    return seen, found["mean"].tolist()


def test_known_batches_are_not_scored_again(run):
    images = pictures(3)
    assert scored(run, "key", images)[0] == [2, 1]
    assert scored(run, "key", images) == ([], pytest.approx(images.pixels.mean((1, 2, 3)).tolist()))


def test_another_picture_of_the_same_name_is_scored_anew(run):
    scored(run, "key", pictures(3))
    other = pictures(3, seed=9)
    assert other.names == pictures(3).names
    assert scored(run, "key", other) == ([2, 1], pytest.approx(other.pixels.mean((1, 2, 3)).tolist()))


def test_another_key_is_other_work(run):
    scored(run, "key", pictures(3))
    assert scored(run, "another", pictures(3))[0] == [2, 1]


def test_a_batch_that_was_cut_short_is_scored_whole(run):
    images = pictures(4)
    order = sorted(range(4), key=lambda i: (images.hashes[i], images.names[i]))
    in_batches(run, "toy", "key", images[[order[0]]], lambda part: means([], part))
    assert scored(run, "key", images)[0] == [2, 2]


def test_the_key_follows_from_all_that_scores_depend_on():
    base = model()
    method, inputs = PIA(), AuditInputs(nudged(base), base, "cat")
    other_autoencoder = model()
    other_autoencoder.autoencoder = model(5).autoencoder
    changed = [
        (method, replace(inputs, suspect=nudged(base, seed=2))),
        (method, replace(inputs, base=nudged(base, seed=3))),
        (method, replace(inputs, base=None)),
        (method, replace(inputs, base=other_autoencoder)),
        (method, replace(inputs, prompt="dog")),
        (replace(method, norm=2.0), inputs),
        (replace(method, precision="bfloat16"), inputs),
        (replace(method, batch=3), inputs),
    ]
    keys = [work_key(*one, without=("micro_batch", "calibrate")) for one in [(method, inputs), *changed]]
    assert len(set(keys)) == len(keys)
    same = replace(method, micro_batch=1, calibrate=False)
    assert work_key(same, inputs, without=("micro_batch", "calibrate")) == keys[0]
