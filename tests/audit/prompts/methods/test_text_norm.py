import pytest
import torch
from torch import Tensor

from audit_scenes import model
from exact_draws import ExactMixture
from intaglio.audit.prompts.methods.text_norm import TextNorm
from intaglio.bench.models.random_models.random_pipelines import folder_of
from intaglio.bench.sample.exact_mixture import SD
from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.sampling.loop import sample

SMALL = {"steps": 2, "noises": 2, "word_steps": 1}
BAD = {"noises": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {"first": {"SMALL": {"at": "first"}, "BAD": {"guidance": -1.0}, "PIECES": {"micro_batch": 1}}}

SHAPE = (3, 3, 3)


class OnePicture(ExactMixture):
    """Data of two pictures without a prompt, of which each prompt names one or leans to one; it has no words to cut."""

    tokenizers = text_encoders = ()

    def __init__(self, variance: float = 0.0):
        self.pictures = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(3))
        prompts = {"": (0.0, 0.0), "one": (0.0, -1e9), "leaning": (0.5, 0.0)}
        super().__init__(self.pictures, torch.full((2,), variance), prompts)

    def expected(self, x: Tensor, s: float, n: float, prompt: str) -> Tensor:
        """The mean of the pictures in noised latents, by Bayes' rule, for pictures of no variance."""
        square = (x[:, None] - s * self.pictures.double()).square().flatten(2).sum(2)
        weights = (self.prompts[prompt].double() - square / (2 * n**2)).softmax(1)
        return torch.einsum("nk,kchw->nchw", weights, self.pictures.double())


def noises(count: int, seed: int = 0) -> Tensor:
    """Unit noise of the seeds from `seed` on."""
    return torch.stack(
        [torch.randn(*SHAPE, generator=torch.Generator().manual_seed(seed + k)) for k in range(count)]
    ).double()


@pytest.mark.parametrize("prompt", ["one", "leaning"])
def test_the_first_step_is_the_distance_of_the_expected_pictures_in_noise_over_signal(prompt):
    exact = OnePicture()
    alpha = NoiseSchedule.from_config(SD).alphas_cumprod[-1].double()
    s, n = float(alpha.sqrt()), float((1 - alpha).sqrt())
    x = noises(3, seed=5)
    apart = exact.expected(x, s, n, "") - exact.expected(x, s, n, prompt)
    by_hand = s / n * apart.flatten(1).norm(dim=1).mean() / apart[0].numel() ** 0.5
    found = TextNorm(at="first", noises=3, seed=5, word_steps=0).ask(exact, prompt, words=True)
    assert found.value == pytest.approx(float(by_hand), rel=1e-4)
    assert found.words == ()
    if prompt == "one":  # a point mass: what is expected with the prompt is the picture, whatever the noise
        torch.testing.assert_close(exact.expected(x, s, n, "one"), exact.pictures[:1].double().expand_as(x))
        assert s / n == pytest.approx(0.0684, abs=5e-5)


def test_the_path_is_the_one_that_guidance_leads_along():
    """All steps are walked again by the closed form, and end in the pictures that are drawn of the same seeds."""
    exact, steps, scale = OnePicture(), 4, 2.5
    alphas = NoiseSchedule.from_config(SD).alphas_cumprod.double()
    x, norms = noises(2), []
    for t, then in zip((999, 749, 499, 249), (749, 499, 249, -1), strict=True):
        s, n = float(alphas[t].sqrt()), float((1 - alphas[t]).sqrt())
        empty, given = ((x - s * exact.expected(x, s, n, prompt)) / n for prompt in ("", "leaning"))
        norms.append((given - empty).flatten(1).norm(dim=1).mean() / 27**0.5)
        eps = empty + scale * (given - empty)
        after = float(alphas[then]) if then >= 0 else 1.0
        x = after**0.5 * (x - n * eps) / s + (1 - after) ** 0.5 * eps
    method = TextNorm(steps=steps, guidance=scale, noises=2, word_steps=0)
    assert method.ask(exact, "leaning", words=False).value == pytest.approx(float(sum(norms)) / steps, rel=1e-3)
    drawn = sample(exact, ["leaning"] * 2, [0, 1], **method.drawing).pixels
    torch.testing.assert_close(drawn.double(), x, rtol=1e-3, atol=1e-3)


def test_shares_are_gradients_in_the_embeddings_of_the_words():
    """At one step, against differences of the norm where the rows of the embedding table are moved by hand."""
    tiny = model()
    (encoder,), (tokenizer,) = tiny.text_encoders, tiny.tokenizers
    table = encoder.get_input_embeddings().weight
    method = TextNorm(at="first", steps=1, noises=1, word_steps=1)
    words = ("red", "cat")
    ids = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
    assert len(ids[0]) == len(ids[1]) == 1
    seed = torch.Generator().manual_seed(0)
    norms = []
    with tiny.frozen():
        found = method.ask(tiny, "red cat", words=True)
        for (place,) in ids:
            slopes = []
            kept = table[place].clone()
            for _ in range(20):
                way = torch.randn(kept.shape, generator=seed)
                ends = []
                for sign in (1, -1):
                    table[place] = kept + sign * 0.01 * way
                    ends.append(method.ask(tiny, "red cat", words=False).value)
                slopes.append((ends[0] - ends[1]) / 0.02)
                table[place] = kept
            norms.append(sum(slope**2 for slope in slopes) ** 0.5)  # E (g·v)² = |g|²
    assert sum(found.words) == pytest.approx(1)
    assert found.words[0] == pytest.approx(norms[0] / sum(norms), abs=0.2)
    assert (found.words[0] > 0.5) == (norms[0] > norms[1])


def test_shares_are_measured_at_steps_that_are_spread_over_the_path():
    assert TextNorm(steps=50, word_steps=5)._graded() == {5, 15, 25, 35, 45}
    assert TextNorm(steps=3, word_steps=9)._graded() == {0, 1, 2}


def test_a_caption_that_was_learnt_by_heart_comes_first():
    """The one that stands for one picture, beside captions that were trained on as often and stand for any of six."""
    base = model(3, "sample")
    tuned, captions = base.copy(), ["cat", "a red cat", "red dog", "big house", ""]
    latents = torch.randn(6, 4, 1, 1, generator=torch.Generator().manual_seed(7)).expand(-1, -1, 8, 8)
    with torch.no_grad():
        texts = base.embed(captions)
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(tuned.parts["denoiser"].parameters(), lr=1e-2)
    for _ in range(60):
        rows = torch.randint(6, (5,), generator=draw)
        rows[captions.index("red dog")] = 3
        noise = torch.randn(5, 4, 8, 8, generator=draw)
        t = torch.randint(500, 1000, (5,), generator=draw)
        optimizer.zero_grad()
        tuned.error(latents[rows], noise, t, texts).mean().backward()
        optimizer.step()
    method = TextNorm(steps=3, noises=2, word_steps=0)
    for given in (None, base):
        scores = dict(zip(captions, method(tuned, captions[:4], base=given).scores.tolist(), strict=False))
        assert scores.pop("red dog") > 2 * max(scores.values())


def test_models_and_steps_that_cannot_be_asked_are_refused(monkeypatch, tmp_path):
    straight = load_model(folder_of("sd3", tmp_path / "model"))
    with pytest.raises(BadInput, match="at its first step .* sees noise alone"):
        TextNorm(at="first")(straight, ["cat"])
    tiny = model()
    for sampling in (BakedSampling(timesteps=(999, 499)), BakedSampling(guidance="baked", scales=(3.0, 3.0))):
        monkeypatch.setattr(tiny, "sampling", sampling)
        with pytest.raises(BadInput, match="was distilled"):
            TextNorm(steps=3)(tiny, ["cat"])
