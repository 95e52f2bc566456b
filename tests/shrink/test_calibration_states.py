import pytest
import torch

import tiny
from intaglio.distill.guidance_input import with_guidance_input
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.shrink import calibration_states
from intaglio.shrink.calibration_states import drawn_states, picture_states


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("calibration") / "m"))


@pytest.fixture(scope="module")
def drawn(model):
    return drawn_states(model, ["red cat", "dog"], 96)


def test_the_rows_are_what_the_network_is_asked_when_it_draws(model, monkeypatch):
    """Each row is, bit for bit, the latents of a call that guidance makes in a drawing, under the same embedding."""
    asked, predict = {}, type(model).predict

    def listening(self, latents, t, given):
        for x, at, hidden in zip(latents, t, given.hidden, strict=True):
            asked.setdefault((x.numpy().tobytes(), int(at)), []).append(hidden)
        return predict(self, latents, t, given)

    monkeypatch.setattr(type(model), "predict", listening)
    rows = drawn_states(model, ["red cat", "dog"], 64)
    (batch,) = rows.batches(model, 64)
    for x, at, hidden in zip(batch.latents, batch.t, batch.conditioning.hidden, strict=True):
        assert any(torch.allclose(hidden, one, atol=1e-5) for one in asked[x.numpy().tobytes(), int(at)])


def test_states_stand_twice_under_the_prompt_and_under_none_and_times_are_even(drawn):
    assert torch.equal(drawn.latents[::2], drawn.latents[1::2])
    assert [drawn.texts[k] for k in drawn.places[1::2]] == [""] * 48
    assert {drawn.texts[k] for k in drawn.places[::2]} == {"red cat", "dog"}
    times = drawn.t[::2].tolist()
    assert times == sorted(times, reverse=True)
    counts = [times.count(t) for t in set(times)]
    assert len(counts) == 20
    assert max(counts) - min(counts) <= 1


def test_one_walk_of_eight_is_held_back_whole(drawn):
    held, learned = set(drawn.held.origins.tolist()), set(drawn.learned.origins.tolist())
    assert (held, held & learned) == ({7, 15}, set())
    assert len(drawn.held) + len(drawn.learned) == len(drawn) == 96


def test_rows_depend_on_the_seed_and_come_back_from_the_run(model, drawn, tmp_path, monkeypatch):
    assert drawn_states(model, ["red cat", "dog"], 96).hash == drawn.hash
    assert drawn_states(model, ["red cat", "dog"], 96, seed=1).hash != drawn.hash
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path, "shrink", "rtn", {}, {}, **about) as run:
        first = drawn_states(model, ["red cat", "dog"], 96, run=run)
    monkeypatch.setattr(calibration_states, "_walked", None)  # nothing is drawn a second time
    with Run.open(tmp_path, "shrink", "rtn", {}, {}, **about) as run:
        again = drawn_states(model, ["red cat", "dog"], 96, run=run)
    assert (again.hash, again.source, again.scale) == (drawn.hash, drawn.source, 3.0)
    assert torch.equal(again.origins, first.origins)


def test_a_distilled_model_is_asked_as_it_was_made_for(model):
    student = with_guidance_input(model, (1.0, 8.0), "student")
    rows = drawn_states(student, ["dog"], 16)
    assert rows.scale == 5.0
    (batch,) = rows.batches(student, 16)
    assert batch.conditioning.guidance is not None
    assert batch.conditioning.guidance.tolist() == [5.0] * 16
    assert "" not in {rows.texts[k] for k in rows.places}


def test_rows_of_pictures_are_their_noised_latents_under_their_captions(model):
    images = ImageSet.from_pixels(tiny.pixels(8), captions=["dog", None] * 4)
    rows = picture_states(model, images, 24)
    with torch.no_grad():
        clean = model.encode(images.pixels)
    signal, noise = model.schedule.signals[rows.t], model.schedule.noises[rows.t]
    rest = (rows.latents - signal.view(-1, 1, 1, 1) * clean[rows.origins]) / noise.view(-1, 1, 1, 1)
    assert float(rest[noise > 0.3].mean()) == pytest.approx(0.0, abs=0.1)
    assert float(rest[noise > 0.3].std()) == pytest.approx(1.0, abs=0.1)
    assert torch.allclose(rest[noise > 0.3].float(), rows.noise[noise > 0.3], atol=1e-4)
    assert torch.equal(rows.held.noise, rows.noise[rows.origins == 7])
    assert [rows.texts[k] for k in rows.places] == ["dog", ""] * 12
    thirds = [int((rows.t * 3 // 1000 == k).sum()) for k in range(3)]
    assert thirds == [8, 8, 8]
    assert set(rows.held.origins.tolist()) == {7}


def test_too_few_of_anything_is_said_with_the_number_needed(model):
    pictures = ImageSet.from_pixels(tiny.pixels(7))
    with pytest.raises(BadInput, match="7 calibration pictures are too few; give 8 or more"):
        picture_states(model, pictures, 64)
    with pytest.raises(BadInput, match="give 8 or more"):
        picture_states(model, ImageSet.from_pixels(tiny.pixels(8)), 7)
    with pytest.raises(BadInput, match="31 calibration rows are too few; give 32 or more"):
        drawn_states(model, ["dog"], 31)
    with pytest.raises(BadInput, match="no prompts"):
        drawn_states(model, [], 64)
