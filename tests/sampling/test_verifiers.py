import io

import pytest
import torch
from PIL import Image

import tiny
from elsewhere import elsewhere, moved, watched
from exact_draws import ExactMixture
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, save_png, to_uint8
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.randomness import generator
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of
from intaglio.sampling.verifiers.attributes import embedded_attributes, parted
from intaglio.sampling.verifiers.colour_share import ColourShare
from intaglio.sampling.verifiers.jpeg_size import JpegSize
from intaglio.sampling.verifiers.prompt_gain import PromptGain
from intaglio.sampling.verifiers.style_statistics import style_statistics

MIXTURE = ExactMixture(
    torch.tensor([-1.0, 2.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1),
    torch.tensor([0.5, 0.5]),
    {"": [0.0, 0.0], "right": [-30.0, 0.0]},
)


def flat(*colours, side=16):
    return torch.tensor(colours).view(-1, 3, 1, 1).expand(-1, -1, side, side).contiguous()


@pytest.fixture(scope="module")
def real():
    return testbed.real_pictures()


@pytest.fixture(scope="module")
def halves():
    encoder = load_similarity("embedded")
    return [embedded_attributes(encoder, half) for half in (0, 1)]


def test_jpeg_is_minus_the_bytes_that_pillow_writes():
    pixels = tiny.pixels(2)
    for picture, score in zip(pixels, JpegSize(quality=80)(pixels, ["", ""]), strict=True):
        file = io.BytesIO()
        Image.fromarray(to_uint8(picture).permute(1, 2, 0).numpy()).save(file, "JPEG", quality=80)
        assert score.item() == pytest.approx(-len(file.getvalue()) / 1000)
    assert JpegSize()(flat((0.5, 0.5, 0.5)), [""]) > JpegSize()(torch.rand(1, 3, 16, 16), [""])


def test_colours_are_told_by_hue_and_not_by_brightness():
    pixels = flat((0.0, 0.0, 1.0), (0.0, 0.0, 0.6), (1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    blue = ColourShare("blue")(pixels, [""] * 5)
    assert blue[:2].min() > 0.9
    assert blue[2:].max() < 0.1
    ink = ColourShare("ink")(pixels, [""] * 5)
    assert ink[:4].min() > 0.9
    assert ink[4] < 0.2
    half = torch.cat([flat((0.0, 0.0, 1.0)), flat((1.0, 1.0, 1.0))], 3)
    assert ColourShare("blue")(half, [""]).item() == pytest.approx(blue[0].item() / 2, abs=0.02)


@pytest.mark.parametrize("colour", ["blue", "ink"])
def test_colour_gradients_are_those_of_finite_differences(colour):
    verifier, pixels = ColourShare(colour), torch.rand(1, 3, 2, 2, dtype=torch.float64).requires_grad_(True)
    (gradient,) = torch.autograd.grad(verifier(pixels.float(), [""]).sum(), pixels)
    step = torch.zeros_like(pixels)
    step[0, 1, 0, 0] = 1e-3
    up, down = (verifier((pixels + sign * step).detach().float(), [""]).item() for sign in (1, -1))
    assert gradient[0, 1, 0, 0].item() == pytest.approx((up - down) / 2e-3, abs=5e-3)


def test_the_gain_of_a_prompt_written_out_draw_by_draw():
    verifier, pixels = (
        PromptGain(MIXTURE, draws=4, seed=3),
        torch.tensor([2.2, 0.4]).view(2, 1, 1, 1).repeat(1, 3, 1, 1),
    )
    known = torch.zeros(2)
    for draw in range(4):
        t = torch.tensor([int((draw + 0.5) * 250)] * 2)
        noise = torch.randn(3, 1, 1, generator=generator(3, "noise", draw))[None]
        x = MIXTURE.schedule.signals[t].view(2, 1, 1, 1) * pixels.clamp(0, 1)
        x = (x + MIXTURE.schedule.noises[t].view(2, 1, 1, 1) * noise).float()
        empty, right = (MIXTURE.predict(x, t, MIXTURE.embed([text] * 2)) for text in ("", "right"))
        known += ((noise - empty) ** 2 - (noise - right) ** 2).flatten(1).sum(1) / 4
    assert torch.allclose(verifier(pixels, ["right"] * 2), known, atol=1e-4)
    assert verifier.calls == 8


def test_statistics_count_shares_bin_by_bin():
    pixels = torch.cat([flat((0.0, 0.0, 0.0), side=8), flat((1.0, 1.0, 1.0), side=8)], 3)
    found = style_statistics(pixels)[0]
    assert found[:8].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0.5]
    assert found[8:13].tolist() == [1.0, 0, 0, 0, 0]
    # One of the 15 steps across is of full height, and none of those down.
    assert found[13:19].tolist() == pytest.approx([(14 / 15 + 1) / 2, 0, 0, 0, 0, 1 / 30])
    assert found[19:].tolist() == pytest.approx([0.5] * 3, abs=0.01)


def test_real_pictures_are_each_of_another_subject(real):
    parts = [parted(str(caption)) for caption in real.captions]
    assert len({name for name, _ in parts}) == len(real) == 340
    assert {style for _, style in parts} == {"twemoji style", "fluent style", "openmoji style"}


def test_each_half_tells_the_artists_of_the_other(real, halves):
    for verifier, other in zip(halves, (1, 0), strict=True):
        rows = list(range(other, len(real), 2))
        captions = [str(real.captions[k]) for k in rows]
        artist, name = verifier.correct(real.pixels[rows], captions)
        assert artist.mean() > 0.88
        assert name.all()  # each picture is its own nearest


def test_the_score_is_that_of_the_prompt(real, halves):
    caption = str(real.captions[0])
    name, style = parted(caption)
    other = next(s for s in ("twemoji style", "fluent style") if s != style)
    right, wrong = halves[1](real.pixels[[0, 0]], [caption, f"{name}, {other}"])
    assert right > wrong + 1
    assert halves[0].hash != halves[1].hash
    with pytest.raises(BadInput, match="knows no picture of 'a red cat'"):
        halves[0](real.pixels[:1], ["a red cat"])


def test_pictures_that_are_not_finite_are_nan_and_no_others(halves, real, tmp_path):
    save_png(tiny.pixels(1)[0], tmp_path / "a.png")
    bad = real.pixels[:2].clone()
    bad[1, 0, 0, 0] = torch.nan
    captions = [str(caption) for caption in real.captions[:2]]
    base = tiny_model(tmp_path)
    for verifier in (
        JpegSize(),
        halves[0],
        verifier_of(f"like:{tmp_path / 'a.png'}", base),
        verifier_of("denoiser", base),
        ColourShare("red"),
    ):
        assert isinstance(verifier, Verifier)
        pixels = bad if verifier is halves[0] else bad[..., :16, :16]
        prompts = captions if verifier is halves[0] else ["dog", "cat"]
        with torch.no_grad():
            assert verifier(pixels, prompts).isfinite().tolist() == [True, False], verifier.name


def tiny_model(folder):
    return load_model(tiny.sd_folder(folder / "model"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [("beauty", "use one of jpeg"), ("colour:pink", "use one of red"), ("like", "use one of jpeg"), ("jpeg:3", "jpeg")],
)
def test_verifiers_that_there_are_not(spec, words):
    with pytest.raises(BadInput, match=words):
        verifier_of(spec, MIXTURE)


def test_likeness_is_one_for_a_given_picture(real):
    images = ImageSet.from_pixels(real.pixels[:3])
    from intaglio.sampling.verifiers.likeness import Likeness

    verifier = Likeness(load_similarity("embedded"), images)
    assert verifier(real.pixels[1:2], [""]).item() == pytest.approx(1.0, abs=1e-5)
    assert verifier(real.pixels[200:201], [""]).item() < 0.99


def test_shipped_statistics_are_those_of_the_embedded_autoencoder(real, halves):
    model = load_model(testbed.base_path())
    rows = [0, 111, 339]
    with torch.no_grad():
        decoded = model.decode(model.encode(real.pixels[rows]))
    assert torch.allclose(style_statistics(decoded), halves[0].decoded[rows], atol=0.01)
    for half, other in ((0, 1), (1, 0)):  # each half has seen none of the other's pictures
        told = halves[half]._head.predict(halves[half].decoded[other::2].numpy())
        assert (told == [parted(str(caption))[1] for caption in real.captions[other::2]]).mean() > 0.78


@pytest.mark.parametrize("name", ["colour:blue", "ink", "jpeg", "denoiser", "attributes:0"])
def test_pictures_on_an_accelerator_have_the_scores_that_they_have_on_the_processor(name, halves, real, tmp_path):
    """Also a picture that is not finite, of which no verifier tells a score."""
    model = load_model(tiny.sd_folder(tmp_path / "model"))
    pixels, prompts = real.pixels[:3].clone(), [str(caption) for caption in real.captions[:3]]
    if name == "denoiser":  # of the model's size
        pixels, prompts = pixels[:, :, ::4, ::4].contiguous(), ["cat", "dog", "cat"]
    pixels[1, 0, 0, 0] = torch.nan
    verifier = halves[0] if name == "attributes:0" else verifier_of(name, model)
    wanted = verifier(pixels, prompts)
    with watched(), moved(model):
        found = verifier(elsewhere(pixels), prompts)
    assert found.device.type == "cpu"
    assert torch.allclose(found, wanted, atol=1e-4, equal_nan=True)
