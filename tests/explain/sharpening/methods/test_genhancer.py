"""GenHancer on an encoder that drops a bit: read before and after, what is frozen when, and going on after a kill."""

import copy

import pytest
import torch

from intaglio.explain.sharpening import sharpening_stages
from intaglio.explain.sharpening.flow_lessons import FlowLessons
from intaglio.explain.sharpening.methods.genhancer import GenHancer
from intaglio.explain.sharpening.sharpening_stages import Sharpening
from intaglio.runs.run import Run
from sharpening_scenes import SMALL as SCENE
from sharpening_scenes import TAUGHT, blind_encoder, blue_pictures, check_the_bit_becomes_readable

SMALL = {"generator_steps": 4, "encoder_steps": 3, "rows": 8, "width": 8, "copies": 1, "held": 0.3}
BAD = {"width": 6}
PIECES = {}


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_dropped_bit_becomes_readable():
    check_the_bit_becomes_readable(GenHancer(**TAUGHT))


def test_each_stage_changes_one_network_and_leaves_the_other_bit_for_bit():
    method, encoder = GenHancer(**SCENE), blind_encoder()
    images, latents, _ = blue_pictures(30)
    lessons = FlowLessons.of(encoder, images.pixels, latents, rows=8, time_scale=1.0, seed=0)
    drawing = method.new_generator(encoder, latents)
    both = Sharpening(encoder=encoder, generator=drawing, lessons=lessons, local=False, run=Run.none())
    start = weights(encoder), weights(drawing)
    both.teach_generator(3, 1e-2)
    middle = weights(encoder), weights(drawing)
    assert same(start[0], middle[0])
    assert not same(start[1], middle[1])
    both.teach_encoder(3, 1e-2)
    end = weights(encoder), weights(drawing)
    assert same(middle[1], end[1])
    changed = {name for name in end[0] if not torch.equal(middle[0][name], end[0][name])}
    norms = {name for name in end[0] if "norm" in name}
    assert changed
    assert not changed & norms
    assert not any(one.requires_grad for one in (*encoder.parameters(), *drawing.parameters()))


@pytest.mark.parametrize("at", [2, 6])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, monkeypatch, at):
    (images, latents, _), method, encoder = blue_pictures(30), GenHancer(**SCENE), blind_encoder()
    whole = method(encoder, images, latents)
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    real, calls = FlowLessons.loss, []

    def stopping(self, *given):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(self, *given)

    monkeypatch.setattr(FlowLessons, "loss", stopping)
    monkeypatch.setattr(sharpening_stages, "SAVED_S", 0.0)
    with pytest.raises(KeyboardInterrupt), Run.open(tmp_path, "explain", "sharpening", {}, {}, **about) as run:
        method(encoder, images, latents, run=run)
    with Run.open(tmp_path, "explain", "sharpening", {}, {}, **about) as run:
        found = method(encoder, images, latents, run=run)
    assert same(found.weights, whole.weights)
    assert (found.loss_after == whole.loss_after).all()
    assert len(calls) == 7 + 1  # all steps once, and the one that was stopped


def test_the_call_leaves_the_encoder_and_the_global_generator():
    images, latents, _ = blue_pictures(30)
    encoder = blind_encoder()
    before, state = copy.deepcopy(weights(encoder)), torch.get_rng_state()
    GenHancer(**SCENE)(encoder, images, latents)
    assert same(before, weights(encoder))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "given", [{"width": 6}, {"rows": 0}, {"encoder_rate": 0.0}, {"held": 0.6}, {"time_scale": -1.0}, {"copies": 0}]
)
def test_settings_out_of_range_are_refused(given):
    (name,) = given
    with pytest.raises(ValueError, match=name):
        GenHancer(**given)
