import dataclasses
import math

import pytest
import torch

import tiny
from adapt_scenes import model, same, training_set, weights
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Training, Watch
from intaglio.adapt.training import accumulate, denoising_error
from intaglio.adapt.training_examples import TrainingExamples
from intaglio.errors import BadInput, IntaglioError
from intaglio.runs.run import Run

FEW = {"steps": 3, "batch": 2, "learning_rate": 1e-3}


def gradients(base, data, settings):
    for weight in base.denoiser.parameters():
        weight.grad = None
    examples = TrainingExamples(base, data, settings)
    loss, prior = accumulate(base, examples, examples.at(0), settings)
    return loss, prior, [weight.grad.clone() for weight in base.denoiser.parameters()]


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(kind, classes):
    base, data, settings = model(kind=kind), training_set(5, classes), Training(batch=5, prior_weight=0.7)
    whole = gradients(base, data, settings)
    for size in (1, 2, 3, 7):
        parts = gradients(base, data, dataclasses.replace(settings, micro_batch=size))
        assert parts[0] == pytest.approx(whole[0], rel=1e-5)
        for one, two in zip(whole[2], parts[2], strict=True):
            assert torch.allclose(one, two, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_snr_weights_are_those_of_the_papers_table(prediction):
    """arXiv 2303.09556: min(SNR, 5) for the clean latents, divided by SNR for the noise, by SNR + 1 for v."""
    base = model(prediction=prediction)
    examples = TrainingExamples(base, training_set(4), Training(batch=4, seed=2))
    draw = examples.at(0)
    conditioning = examples.conditioning(draw.prompts)
    with torch.no_grad():
        plain = denoising_error(base, draw, conditioning, None)
        weighted = denoising_error(base, draw, conditioning, 5.0)
    level = base.schedule.alphas_cumprod[draw.timesteps]
    snr = level / (1 - level)
    weight = snr.clamp(max=5) / {"epsilon": snr, "v_prediction": snr + 1, "sample": 1.0}[prediction]
    assert weighted.tolist() == pytest.approx((weight * plain).tolist(), rel=1e-3)


def test_steps_are_adamw_with_the_settings():
    """Three updates written with the textbook formula, on the gradients of the same draws."""
    settings = DreamBooth(
        steps=3, batch=2, learning_rate=1e-2, betas=(0.8, 0.9), weight_decay=0.1, clip=0.05, schedule="linear", warmup=1
    )
    base, data = model(), training_set()
    tuned = settings(base, data)
    twin = base.copy()
    examples = TrainingExamples(twin, data, settings)
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in twin.denoiser.parameters()]
    for step in range(3):
        for weight in twin.denoiser.parameters():
            weight.grad = None
        accumulate(twin, examples, examples.at(step), settings)
        norm = math.sqrt(sum(float(w.grad.double().square().sum()) for w in twin.denoiser.parameters()))
        rate = [1e-2, 1e-2, 0.5e-2][step]
        with torch.no_grad():
            for weight, (first, second) in zip(twin.denoiser.parameters(), moments, strict=True):
                gradient = weight.grad * min(1.0, 0.05 / norm)
                first.mul_(0.8).add_(0.2 * gradient)
                second.mul_(0.9).add_(0.1 * gradient**2)
                unbiased = second / (1 - 0.9 ** (step + 1))
                change = first / (1 - 0.8 ** (step + 1)) / (unbiased.sqrt() + 1e-8)
                weight.copy_(weight * (1 - rate * 0.1) - rate * change)
    for got, expected in zip(tuned.model.denoiser.parameters(), twin.denoiser.parameters(), strict=True):
        assert torch.allclose(got, expected, atol=2e-5)


def test_the_mean_of_the_weights_is_what_is_exported():
    plain = DreamBooth(**FEW)
    base, data = model(), training_set()
    decays = [min(0.5, (1 + step) / (10 + step)) for step in range(3)]
    expected = weights(base)["denoiser.conv_in.weight"]
    for steps, decay in enumerate(decays, start=1):
        last = weights(dataclasses.replace(plain, steps=steps)(base, data).model)["denoiser.conv_in.weight"]
        expected = decay * expected + (1 - decay) * last
    mean = weights(dataclasses.replace(plain, ema=0.5)(base, data).model)["denoiser.conv_in.weight"]
    assert torch.allclose(mean, expected, atol=1e-6)


def test_repeats_and_captions_reach_the_draws():
    data = training_set(2, captions=("cat", "dog"))
    data = dataclasses.replace(data, images=dataclasses.replace(data.images, repeats=(3, 1)))
    examples = TrainingExamples(model(), data, Training(batch=4))
    assert sorted(examples.at(7).prompts) == ["cat", "cat", "cat", "dog"]
    dropped = TrainingExamples(model(), data, Training(batch=4, caption_dropout=1.0)).at(7)
    assert dropped.prompts == ("",) * 4


def test_half_precision_is_refused():
    with pytest.raises(BadInput, match="float32"):
        DreamBooth(steps=1)(model().to(dtype=torch.float16), training_set())


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_with_the_last_good_state(tmp_path, monkeypatch, poison):
    base, calls, whole = model(), [], type(model()).error

    def failing(self, *arguments):
        calls.append(1)
        error = whole(self, *arguments)
        if len(calls) == 3:
            return error * math.inf if poison == "loss" else error + (error - error.detach()).sqrt()
        return error

    def run():
        return Run.open(tmp_path, "finetune", "x", {}, {}, seed=0, device="cpu", command=["x"], progress="none")

    monkeypatch.setattr(type(base), "error", failing)
    method = DreamBooth(steps=5, batch=2, learning_rate=1e-3)
    with run() as opened, pytest.raises(IntaglioError, match="not finite at step 3"):
        method(base, training_set(), run=opened)
    with run() as again:
        tensors, meta = again.load_state("training")
        assert meta["step"] == 2
        assert all(tensor.isfinite().all() for tensor in tensors.values())
        monkeypatch.setattr(type(base), "error", whole)
        resumed = method(base, training_set(), run=again)
    assert same(weights(resumed.model), weights(method(base, training_set()).model))


def test_memory_errors_come_with_advice(monkeypatch):
    def failing(self, *arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(type(model()), "error", failing)
    with pytest.raises(IntaglioError, match="--micro-batch 2, or --gradient-checkpointing, or `finetune lora`"):
        DreamBooth(batch=2)(model(), training_set(2, 2))
    with pytest.raises(IntaglioError, match="1 pictures at once; try a machine"):
        LoRATuning(gradient_checkpointing=True)(model(), training_set())


def test_pictures_are_drawn_while_it_trains(tmp_path):
    watch = Watch(sample_every=2, sample_prompt=("cat", "dog"), sample_count=3, sample_steps=2)
    method = DreamBooth(steps=4, batch=2, ema=0.9)
    base, data = model(), training_set()
    with Run.open(tmp_path, "f", "x", {}, {}, seed=0, device="cpu", command=["x"], progress="none") as run:
        watched = method(base, data, run=run, watch=watch)
    found = sorted(path.name for path in (run.folder / "images").glob("*.png"))
    assert found == ["samples-000002.png", "samples-000004.png"]
    assert len(watched.samples) == len(watched.before) == 6
    assert len(list((run.folder / "images" / "before").iterdir())) == 6
    assert watched.change > 0
    from intaglio.images.image_set import ImageSet

    grid = ImageSet.load(run.folder / "images" / found[1], 16)
    assert len(grid) == 1
    assert same(weights(watched.model), weights(method(base, data).model))
    rows = run.logged("train")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["loss"] for row in rows] == pytest.approx(watched.losses.tolist())
    assert tiny.RESOLUTION == 16
