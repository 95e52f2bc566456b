from types import SimpleNamespace

import pytest
import torch

import feature_scenes
import tiny
from intaglio.errors import BadInput
from intaglio.explain.encodings import family, swapped_slots
from intaglio.explain.encodings.methods.diti import DiTi
from intaglio.explain.encodings.noise_slots import confused_ends, even_ends
from intaglio.models.diffusion.loading import load_model

SMALL = {
    "numbers": 8, "width": 8, "steps": 4, "batch": 4, "levels": 3, "pairs": 1, "swap_steps": 2, "folds": 2, "parts": 2
}  # fmt: skip
BAD = {"parts": 0}
PIECES = {"at_once": 4}


def test_slots_are_laid_by_confusion_or_evenly():
    confused = torch.linspace(0, 0.5, 100).sqrt()
    assert DiTi(parts=4, numbers=8).slots(confused).ends == confused_ends(confused, 4)
    assert DiTi(parts=4, numbers=8, split="even").slots(confused).ends == even_ends(100, 4)
    assert DiTi(parts=4, numbers=8).slots(confused).sizes == (2, 2, 2, 2)


def test_more_slots_than_numbers_are_refused():
    with pytest.raises(ValueError, match="parts must be 1 to the numbers, 8, not 9"):
        DiTi(parts=9, numbers=8)
    with pytest.raises(BadInput, match="too few for 8 slots"):
        DiTi(parts=8, numbers=8).slots(torch.zeros(4))


def test_before_it_is_taught_the_denoiser_is_the_frozen_one(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    method = DiTi(**SMALL)
    with model.frozen(), torch.no_grad():
        latents = model.encode(tiny.pixels(3))
        encoder, denoiser = method.networks(model, latents.shape[1], method.slots(torch.linspace(0, 0.5, 1000)))
        t = torch.tensor([1, 500, 999])
        base, shifted = denoiser.noise(latents, t, encoder(tiny.pixels(3)))
        assert torch.equal(base, shifted)
        assert torch.equal(base, model.predict(latents, t, model.embed([""])))


def test_encodings_do_not_depend_on_the_order_of_the_pictures(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    images, _ = feature_scenes.labelled()
    there = DiTi(**SMALL)(model, images)
    back = DiTi(**SMALL)(model, images[list(range(len(images) - 1, -1, -1))])
    assert (there.names, there.labels) == (back.names, ())
    assert torch.equal(there.codes, back.codes)
    assert torch.equal(there.swapped, back.swapped)


def test_held_out_pictures_judge_and_are_drawn_and_are_not_learnt(tmp_path, monkeypatch):
    learnt, drawn, teach = [], [], family.teach

    def noted(model, prompts, seeds, *, guide, **about):
        drawn.append((seeds, guide.codes))
        return SimpleNamespace(pixels=torch.zeros(len(prompts), 3, tiny.RESOLUTION, tiny.RESOLUTION))

    monkeypatch.setattr(swapped_slots, "sample", noted)
    monkeypatch.setattr(family, "teach", lambda *given: learnt.append(given[2]) or teach(*given))
    images, _ = feature_scenes.labelled(40)
    found = DiTi(**{**SMALL, "pairs": 2, "seed": 7})(load_model(tiny.sd_folder(tmp_path / "base")), images)
    held = [images.names.index(name) for name in found.pairs]
    assert len(set(held)) == found.errors.shape[2] == 4
    assert len(learnt[0].seen) == 36
    assert not any(torch.equal(images.pixels[k], one) for k in held for one in learnt[0].seen)
    codes = dict(zip(found.names, found.codes, strict=True))
    for pair, (seeds, given) in enumerate(drawn):
        assert seeds == [7 + pair] * 4
        for row in range(2):
            torch.testing.assert_close(given[row], codes[found.pairs[2 * pair + row]])
