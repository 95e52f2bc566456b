"""CLiD: the closed form for Gaussian data with and without words, thirds of a caption, captions that agree."""

import pytest
import torch

from audit_scenes import captioned, model, nudged, pictures
from intaglio.audit.membership.methods.clid import CLiD, reductions
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning

SMALL = {"levels": 2, "batch": 1}
BAD = {"levels": 0}
PIECES = {"micro_batch": 1}


def test_a_caption_falls_into_three_parts_and_nothing():
    assert reductions("one two three four five six") == ("one two", "three four", "five six", "")
    assert reductions("one two three four") == ("one", "two three", "four", "")
    assert reductions("one") == ("", "one", "", "")
    assert reductions("") == ("", "", "", "")


def test_of_gaussian_data_the_discrepancy_is_known_in_closed_form():
    """Under the whole caption data are N(1, v_c), under any other words N(0, v_u): the losses' expectations differ."""
    v_c, v_u, t = 0.3, 0.9, 400
    one = model()
    signal, noise = float(one.schedule.signals[t]), float(one.schedule.noises[t])
    whole = "a red cat"

    def predict(x, times, text):
        known = text.hidden[:, 0, 0].view(-1, 1, 1, 1)
        mean, variance = known, torch.where(known > 0, v_c, v_u)
        return noise * (x - signal * mean) / (signal**2 * variance + noise**2)

    def embed(prompts, **_):
        return Conditioning(torch.tensor([[[float(prompt == whole)]] for prompt in prompts]))

    one.predict, one.embed = predict, embed
    one.error = lambda z, eps, times, text: (
        (predict(signal * z + noise * eps, times, text) - eps).square().flatten(1).mean(1)
    )
    latents = 1 + v_c**0.5 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))

    def expected(mean, v):
        below = signal**2 * v + noise**2
        apart = (latents - mean).square().flatten(1).mean(1)
        return (signal**2 * v / below) ** 2 + (signal * noise / below) ** 2 * apart

    prompted = PromptedModel(one, embed([whole] * 2), 64, "float32", (whole,) * 2)
    found = torch.stack([CLiD(timesteps=(t, t), seed=16 * k).score(prompted, latents) for k in range(12)]).mean(0)
    torch.testing.assert_close(found, expected(0, v_u) - expected(1, v_c), rtol=0.03, atol=0)


def test_the_reduced_captions_are_those_that_are_asked_under(monkeypatch):
    base, asked = model(), []
    under = PromptedModel.under
    monkeypatch.setattr(PromptedModel, "under", lambda self, words: asked.append(tuple(words)) or under(self, words))
    CLiD(levels=1)(nudged(base), None, captioned(pictures(2), "a red cat", "b c"), own_captions=True)
    assert sorted(asked) == sorted(
        [("a red cat", "b c"), *zip(reductions("a red cat"), reductions("b c"), strict=True)]
    )


def test_every_picture_is_asked_about_under_its_own_words():
    base = model()
    suspect, images = nudged(base), captioned(pictures(3), "a red cat", "two blue dogs", "one bird")
    together = CLiD(levels=2)(suspect, base, images, own_captions=True)
    alone = [CLiD(levels=2)(suspect, base, images[[k]], own_captions=True).scores[0] for k in range(3)]
    torch.testing.assert_close(together.scores, torch.stack(alone), rtol=1e-3, atol=1e-6)
    other = CLiD(levels=2)(suspect, base, captioned(images, "a cat", "two blue dogs", "one bird"), own_captions=True)
    assert other.scores[0] != together.scores[0]
    torch.testing.assert_close(other.scores[1:], together.scores[1:], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "given", "said"),
    [
        (captioned(pictures(3)), {"prompt": "cat"}, "clid asks about each picture under its own caption"),
        (captioned(pictures(3)), {"prompt": "cat", "own_captions": True}, "takes the place of --prompt"),
        (pictures(3), {"own_captions": True}, "has no caption, and 2 more"),
        (captioned(pictures(3), "cat", "cat", "cat"), {"own_captions": True}, "of 3 captions 1 differ"),
    ],
)
def test_prompts_that_it_cannot_use_are_refused(images, given, said):
    base = model()
    with pytest.raises(BadInput, match=said):
        CLiD(levels=1)(nudged(base), base, images, **given)
