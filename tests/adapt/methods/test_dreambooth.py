import pytest
import torch

from adapt_scenes import learned, model, same, stable_diffusion_1, training_set, weights
from intaglio.adapt.bayesian import chosen
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.settings import Watch
from intaglio.adapt.training import accumulate
from intaglio.adapt.training_examples import TrainingExamples
from intaglio.learning.step_randomness import batch_at, noise_at, timesteps_at
from intaglio.models.diffusion.loading import load_model

SMALL = {"steps": 4, "batch": 2, "learning_rate": 1e-3}
BAD = {"steps": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {"bayesian": {"SMALL": {"bayesian": True, "kl_weight": 1e-3}, "BAD": {"sigma": 0.0}, "PIECES": {}}}


def test_all_weights_of_the_denoiser_are_trained():
    base = model()
    found = DreamBooth(**SMALL).trainable(base).weights
    assert {id(weight) for weight in found.values()} == {id(weight) for weight in base.denoiser.parameters()}
    tuned = learned(DreamBooth(**SMALL)(base, training_set()))
    still = [name for name in found if torch.equal(tuned[name], found[name])]
    assert still == []


def test_the_loss_is_the_papers():
    """Equation 2 of arXiv 2208.12242 written again: mean instance error plus the weight times the mean class error."""
    base, data = model(), training_set(3, 4)
    settings = DreamBooth(batch=3, prior_weight=0.4, seed=8)
    examples = TrainingExamples(base, data, settings)
    loss, prior = accumulate(base, examples, examples.at(0), settings)
    noise, t = noise_at((6, 4, 8, 8), 0, 8), timesteps_at(6, 1000, 0, 8)
    share = []
    with torch.no_grad():
        for half, (images, stream, prompt) in enumerate(
            [(data.images, "instance", "red cat"), (data.class_images, "class", "cat")]
        ):
            taken = batch_at(range(len(images)), 0, 3, 8, stream)
            for slot, index in enumerate(taken, start=3 * half):
                clean = base.encode(images.pixels[index : index + 1])
                level = base.schedule.alphas_cumprod[t[slot]].float()
                noised = level.sqrt() * clean + (1 - level).sqrt() * noise[slot]
                found = base.denoiser(noised, t[slot], encoder_hidden_states=base.embed([prompt]).hidden).sample
                share.append(float((found - noise[slot]).square().mean()))
    instance, classes = sum(share[:3]) / 3, sum(share[3:]) / 3
    assert loss == pytest.approx(instance + 0.4 * classes, rel=1e-4)
    assert prior["prior"] == pytest.approx(0.4 * classes, rel=1e-4)


def test_training_lowers_the_loss():
    losses = DreamBooth(steps=60, batch=4, learning_rate=3e-3)(model(), training_set(2)).losses
    assert losses[-15:].mean() < 0.9 * losses[:5].mean()


def test_the_random_weights_of_stable_diffusion_1_are_the_published_number():
    """198,371,200 of 859.5 M, the linear layers of self-attention and feed-forward."""
    named = {f"denoiser.{name}": weight for name, weight in stable_diffusion_1().named_parameters()}
    random = chosen(list(named), DreamBooth().random_targets)
    assert sum(named[name].numel() for name in random) == 198_371_200
    assert all(".attn2." not in name and "time_emb" not in name for name in random)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_full_weights_are_saved_as_a_model_that_loads_again(tmp_path, kind):
    base = model(kind=kind)
    method = DreamBooth(steps=2, learning_rate=1e-3, text_encoder=True)
    result = method(base, training_set(3, 2), watch=Watch(sample_count=2, sample_steps=2))
    path = result.save(tmp_path, name="cat")
    assert path == tmp_path / "model"
    assert same(weights(load_model(path)), weights(result.model))
    assert not load_model(path).same_weights(base)
    path = result.save(tmp_path, name="cat")
    assert sorted(child.name for child in tmp_path.iterdir()) == ["README.md", "model", "samples"]
