import dataclasses

import pytest
import torch
from safetensors import safe_open

from adapt_scenes import learned, model, same, stable_diffusion_1, training_set
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.errors import BadInput
from intaglio.models.lora.lora import LoRA
from intaglio.runs.run import Run

SMALL = {"steps": 4, "batch": 2, "learning_rate": 1e-3}
BAD = {"rank": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {
    "bayesian": {"SMALL": {"bayesian": True}, "BAD": {"sigma": -1.0}, "PIECES": {}},
    "packed": {"SMALL": {"base_precision": "nf4"}, "BAD": {"alpha": -1.0}, "PIECES": {"micro_batch": 1}},
}
FEW = {"steps": 3, "batch": 2, "learning_rate": 1e-3, "rank": 2}


def test_the_random_weights_of_stable_diffusion_1_are_the_published_number():
    """399,360 of 797,184 for rank 4: the ups of the attention projections."""
    network = stable_diffusion_1()
    projections = [m for n, m in network.named_modules() if n.endswith(LoRATuning().targets)]
    down, up = (sum(4 * m.weight.shape[side] for m in projections) for side in (1, 0))
    assert (up, down + up) == (399_360, 797_184)


def test_training_lowers_the_loss():
    losses = LoRATuning(steps=60, batch=4, learning_rate=2e-2)(model(), training_set(2)).losses
    assert losses[-15:].mean() < 0.9 * losses[:5].mean()


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_an_adapter_reaches_the_text_encoders_when_asked(kind):
    base, data = model(kind=kind), training_set()
    still, trained = (LoRATuning(**FEW, text_encoder=asked)(base, data).adapter for asked in (False, True))
    assert set(still.layers) == {"denoiser"}
    assert set(trained.layers) == {"denoiser", "text_encoder"} | ({"text_encoder_2"} if kind == "sdxl" else set())
    assert all(float(layer.up.abs().sum()) > 0 for _, path, layer in trained.items() if ".0." in path)


def test_a_lora_has_random_ups_only_scaled_to_the_published_noise():
    tuner = LoRATuning(rank=3, bayesian=True)
    trainable = tuner.trainable(model())
    scales = trainable.random_scales(tuner)
    assert set(scales) == {f"{part}.{path}.up" for part, path, _ in trainable.adapter.items()}
    for part, path, layer in trainable.adapter.items():
        noise = scales[f"{part}.{path}.up"] * float(layer.down.detach().square().mean().sqrt())
        assert noise == pytest.approx(1 / 3)
    few = trainable.random_scales(dataclasses.replace(tuner, random_targets=("attn1",)))
    assert few.keys() == {name for name in scales if ".attn1." in name}


def test_a_gaussian_down_has_the_published_deviation_and_leaves_sigma_as_it_is():
    tuner = LoRATuning(rank=3, bayesian=True, down="gaussian")
    trainable = tuner.trainable(model())
    adapter = trainable.adapter
    values = torch.cat([layer.down.detach().flatten() for *_, layer in adapter.items()])
    error = 1 / 3 / (2 * len(values)) ** 0.5
    assert float(values.std()) == pytest.approx(1 / 3, abs=5 * error)
    assert float(values.mean()) == pytest.approx(0, abs=5 * error * 2**0.5)
    assert all(scale == pytest.approx(1, rel=0.5) for scale in trainable.random_scales(tuner).values())
    again = tuner.trainable(model()).adapter
    assert all(
        torch.equal(one.down, two.down) for (*_, one), (*_, two) in zip(adapter.items(), again.items(), strict=True)
    )


@pytest.mark.parametrize("change", [{"rank": 3}, {"alpha": 5.0}, {"down": "gaussian"}, {"targets": ("to_q",)}])
def test_every_setting_of_an_adapter_reaches_it(change):
    base, data = model(), training_set()
    one, two = LoRATuning(**FEW)(base, data), LoRATuning(**{**FEW, **change})(base, data)
    assert not same(learned(one), learned(two))


def test_an_adapter_acts_in_the_model_it_comes_with():
    result = LoRATuning(**{**FEW, "steps": 10})(base := model(), training_set())
    latents, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 500])
    with torch.no_grad():
        condition = base.embed(["red cat"])
        plain, tuned = base.predict(latents, t, condition), result.model.predict(latents, t, condition)
        with result.adapter.attached(base):
            again = base.predict(latents, t, condition)
    assert not torch.allclose(plain, tuned)
    torch.testing.assert_close(tuned, again, rtol=1e-4, atol=1e-5)


def test_a_rank_that_layers_have_not_is_told_once():
    base = model()
    paths = [path for _, path, _ in LoRATuning().trainable(base).adapter.items()]
    shapes = [base.denoiser.get_submodule(path).weight.shape for path in paths]
    widest, least = max(min(one) for one in shapes), min(min(one) for one in shapes)
    (said,) = LoRATuning(rank=least + 1).trainable(base).warnings
    assert f"rank {least + 1} is above the smaller side of " in said
    assert f" of {len(shapes)} layers" in said
    assert f"a --rank of {widest} is enough for all" in said
    assert LoRATuning(rank=least).trainable(base).warnings == ()


def test_a_run_warns_of_its_rank(tmp_path):
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path / "runs", "finetune", "lora", {}, {}, **about) as run:
        LoRATuning(**{**FEW, "rank": 99})(model(), training_set(), run=run)
    assert any("rank 99 is above" in line for line in run.warnings)


def test_targets_outside_the_denoiser_are_refused_while_text_encoders_rest():
    with pytest.raises(BadInput, match="--text-encoder"):
        LoRATuning(targets=("q_proj",))(model(), training_set())
    with pytest.raises(BadInput, match="nowhere"):
        LoRATuning(targets=("nowhere",))(model(), training_set())


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize(
    ("layout", "file"), [("diffusers", "pytorch_lora_weights.safetensors"), ("kohya", "cat.safetensors")]
)
def test_an_adapter_is_saved_in_either_layout_and_acts_alike(tmp_path, kind, layout, file):
    base = model(kind=kind)
    method = LoRATuning(steps=3, learning_rate=1e-2, rank=2, alpha=3.0, text_encoder=True)
    result = method(base, training_set())
    path = result.save(tmp_path, layout=layout, name="cat")
    assert path == tmp_path / file
    assert not result.model.same_weights(base), "an audit must see that the tuned model is another one"
    with safe_open(path, "pt") as opened:
        assert opened.metadata()["intaglio.base"] == base.fingerprint
        assert all(".lora_A." in key or ".lora_B." in key for key in opened.keys()) == (layout == "diffusers")  # noqa: SIM118
    latents, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 500])
    read = LoRA.read(path)
    assert read.unmatched(base) == []
    with torch.no_grad():
        expected = result.model.predict(latents, t, result.model.embed(["red cat"]))
        plain = base.predict(latents, t, base.embed(["red cat"]))
        with read.attached(base):
            got = base.predict(latents, t, base.embed(["red cat"]))
    assert torch.allclose(got, expected, atol=1e-5)
    assert not torch.allclose(got, plain, atol=1e-4)


def test_an_adapter_needs_less():
    base, data = model(), training_set()
    full, low = DreamBooth(batch=2).plan(base, data), LoRATuning(rank=2, batch=2).plan(base, data)
    adapter = LoRATuning(rank=2, steps=1)(base, data).adapter
    assert low.trainable == sum(tensor.numel() for tensor in adapter.parameters())
    assert low.weights_bytes - 4 * low.trainable == full.weights_bytes - 4 * full.trainable  # the base, once
    assert low.memory_bytes < full.memory_bytes
    assert low.mean_bytes == 0


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0.0}, {"targets": ()}])
def test_wrong_settings_of_an_adapter_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LoRATuning(**wrong)
