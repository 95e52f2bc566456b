"""Random weights, derived again from arXiv 2405.19931: gradients, divergences, which weights, what is left of them."""

import dataclasses
import json
import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from adapt_scenes import model, same, training_set, weights
from intaglio.adapt import training
from intaglio.adapt.bayesian import FLOOR, Posterior, chosen, divergence, warnings_of
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import BayesianTraining, Watch
from intaglio.adapt.training import accumulate, checkpointed
from intaglio.adapt.training_examples import TrainingExamples
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run

FEW = {"steps": 3, "batch": 2, "learning_rate": 1e-3, "bayesian": True}
BOTH = {"dreambooth": DreamBooth(**FEW), "lora": LoRATuning(**FEW)}
both = pytest.mark.parametrize("name", BOTH)


def posterior(parameters, scales=None, **changes) -> Posterior:
    settings = BayesianTraining(**{"bayesian": True, **changes})
    return Posterior(parameters, dict.fromkeys(parameters, 1.0) if scales is None else scales, settings)


def linear():
    generator = torch.Generator().manual_seed(1)
    made = {"w.up": torch.randn(3, 5, generator=generator), "b.up": torch.randn(3, generator=generator)}
    return {name: value.requires_grad_() for name, value in made.items()}, torch.randn(7, 5, generator=generator)


def noise_of(parameters, seed, step, part):
    generator = torch.Generator().manual_seed(seed_32bit(seed, "weights", step, part))
    flat = torch.randn(sum(value.numel() for value in parameters.values()), generator=generator)
    parts = flat.split([value.numel() for value in parameters.values()])
    return {name: part.view_as(value) for part, (name, value) in zip(parts, parameters.items(), strict=True)}


# The reparametrised gradient


def test_gradients_of_a_linear_layer_are_the_closed_form():
    """L = |x W' + b - y|^2 / 2 with theta = mu + sigma e: dL/dtheta = r'x and r summed; by sigma the same times e."""
    parameters, x = linear()
    q = posterior(parameters, sigma=0.3, seed=4)
    y = torch.ones(7, 3)
    mean = {name: value.detach().clone() for name, value in parameters.items()}
    for part in range(2):  # two micro-batches, two draws
        with q.sampled(6, part):
            ((x @ parameters["w.up"].T + parameters["b.up"] - y).square().sum() / 2).backward()
    expected = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in mean.items()}
    for part in range(2):
        e = noise_of(mean, 4, 6, part)
        residual = x @ (mean["w.up"] + 0.3 * e["w.up"]).T + mean["b.up"] + 0.3 * e["b.up"] - y
        for name, gradient in (("w.up", residual.T @ x), ("b.up", residual.sum(0))):
            expected[name][0].add_(gradient)
            expected[name][1].add_(gradient * e[name])
    for name, (by_mean, by_sigma) in expected.items():
        torch.testing.assert_close(parameters[name].grad, by_mean)
        torch.testing.assert_close(q.sigmas[f"sigma/{name}"].grad, by_sigma)
        assert torch.equal(parameters[name], mean[name]), "after the block the weights are the means, to the last bit"


def test_a_draw_depends_on_seed_step_and_part_alone_and_has_the_right_spread():
    parameters = {"w": torch.zeros(400, 400, requires_grad=True)}

    def draw(seed=0, step=0, part=0):
        with posterior(parameters, sigma=0.25, seed=seed).sampled(step, part):
            return parameters["w"].detach().clone()

    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
    others = [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)]
    assert not any(torch.equal(draw(1, 2, 3), other) for other in others)
    assert float(draw().std()) == pytest.approx(0.25, rel=0.01)
    assert float(draw().mean()) == pytest.approx(0, abs=0.002)


def test_the_weights_are_the_means_again_after_an_error():
    parameters, _ = linear()
    before = parameters["w.up"].detach().clone()
    seen = []

    def failing():
        with posterior(parameters).sampled(0, 0):
            seen.append(parameters["w.up"].detach().clone())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert not torch.equal(seen[0], before)
    assert torch.equal(parameters["w.up"], before)


def test_sigma_is_lifted_to_its_floor():
    parameters, _ = linear()
    q = posterior(parameters)
    with torch.no_grad():
        q.sigmas["sigma/w.up"].fill_(-1)
    q.keep_positive()
    assert float(q.sigmas["sigma/w.up"].min()) == pytest.approx(FLOOR)
    assert float(q.sigmas["sigma/b.up"].min()) == pytest.approx(0.01)


# The divergence


def integrated(d, s, p, direction):
    q, prior = norm(d, s), norm(0, p)
    one, two = (prior, q) if direction == "prior-to-posterior" else (q, prior)
    low, high = min(d - 12 * s, -12 * p), max(d + 12 * s, 12 * p)
    return quad(lambda x: one.pdf(x) * (one.logpdf(x) - two.logpdf(x)), low, high, points=[0, d], limit=400)[0]


@pytest.mark.parametrize("direction", ["prior-to-posterior", "posterior-to-prior"])
@pytest.mark.parametrize(("d", "s", "p"), [(0.0, 0.01, 0.01), (0.02, 0.013, 0.01), (-0.3, 0.5, 0.4), (0.1, 0.2, 0.7)])
def test_both_divergences_are_the_integrals_and_their_gradients_the_derivatives(d, s, p, direction):
    drift, sigma = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (d, s))
    value, by_drift, by_sigma = divergence(drift, sigma, p, direction)
    assert float(value.detach()) == pytest.approx(integrated(d, s, p, direction), abs=1e-6)
    expected = torch.autograd.grad(value, (drift, sigma))
    torch.testing.assert_close((by_drift.detach(), by_sigma.detach()), expected)
    if (d, s) == (0.0, p):
        assert float(value.detach()) == 0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_divergence_is_weighed_and_added_to_what_the_loss_left(reduction):
    parameters, _ = linear()
    scales = {"w.up": 1.0, "b.up": 3.0}
    q = posterior(parameters, scales, sigma=0.02, kl_weight=0.5, kl_reduction=reduction)
    with torch.no_grad():
        for value in parameters.values():
            value += 0.01
            value.grad = torch.ones_like(value)
    added = q.add_divergence()
    count = 18 if reduction == "mean" else 1
    total = 0.0
    for name, value in parameters.items():
        prior, sigma = 0.01 * scales[name], 0.02 * scales[name]
        total += value.numel() * (math.log(sigma / prior) + (prior**2 + 1e-4) / (2 * sigma**2) - 0.5)
        expected = torch.full_like(value, 1 + 0.5 / count * 0.01 / sigma**2)
        torch.testing.assert_close(value.grad, expected, rtol=1e-4, atol=0)
    assert added == pytest.approx(0.5 * total / count, rel=1e-4)


def test_without_a_weight_the_divergence_is_not_computed(monkeypatch):
    parameters, _ = linear()
    monkeypatch.setattr("intaglio.adapt.bayesian.divergence", None)
    assert posterior(parameters).add_divergence() is None
    assert parameters["w.up"].grad is None


# Which weights


def test_a_target_is_a_whole_part_of_a_path():
    assert chosen(["a.attn10.w"], ("attn10",)) == ["a.attn10.w"]
    assert chosen(["a.img_mlp.w", "a.attn.w", "a.norm.w"], ("attn1", "ff")) == ["a.img_mlp.w", "a.attn.w"]
    with pytest.raises(BadInput):
        chosen(["a.attn10.w"], ("attn1",))


def test_half_precision_weights_are_refused():
    with pytest.raises(BadInput, match="load the model in float32"):
        BOTH["dreambooth"](model().to(dtype=torch.bfloat16), training_set())


# The whole fine-tune


@both
def test_with_sigma_at_zero_every_bit_is_the_plain_methods(monkeypatch, name):
    """The gradients of sigma count in the joint norm, so clipping is off; sigma is held at zero after every update."""
    plain = dataclasses.replace(BOTH[name], bayesian=False, clip=None, micro_batch=1)
    expected = plain(model(), training_set(3, 2))
    whole = Posterior.__init__

    def silent(self, *args):
        whole(self, *args)
        self.keep_positive()

    monkeypatch.setattr(
        Posterior, "keep_positive", torch.no_grad()(lambda self: [s.zero_() for s in self.sigmas.values()])
    )
    monkeypatch.setattr(Posterior, "__init__", silent)
    found = dataclasses.replace(plain, bayesian=True)(model(), training_set(3, 2))
    assert same(weights(expected.model), weights(found.model))
    assert torch.equal(expected.losses, found.losses)


@both
def test_random_weights_change_the_result_and_leave_an_ordinary_one(tmp_path, name):
    plain = dataclasses.replace(BOTH[name], bayesian=False)(model(), training_set())
    found = BOTH[name](model(), training_set())
    assert not same(weights(plain.model), weights(found.model))
    assert found.trained.random > 0.05
    one, two = plain.save(tmp_path / "plain"), found.save(tmp_path / "bayesian")
    assert "Bayesian fine-tune" in (tmp_path / "bayesian" / "README.md").read_text()
    if name == "lora":
        assert LoRA.read(one).layers["denoiser"].keys() == LoRA.read(two).layers["denoiser"].keys()
        return
    assert same(weights(load_model(two)), weights(found.model)), "what is stored are the means, bit for bit"
    listed = [json.loads((folder / "unet/config.json").read_text()) for folder in (one, two)]
    assert listed[0] == listed[1]


@both
def test_recomputed_activations_see_the_same_draw(name):
    def gradients(recompute: bool):
        settings = dataclasses.replace(BOTH[name], gradient_checkpointing=recompute, sigma=0.3)
        own = model()
        trainable = settings.trainable(own)
        training.freeze(own)
        q = Posterior(trainable.weights, trainable.random_scales(settings), settings)
        for weight in (*trainable.weights.values(), *q.sigmas.values()):
            weight.requires_grad_(True)
        examples = TrainingExamples(own, training_set(3), settings)
        with trainable.attached(own), checkpointed(own, settings):
            accumulate(own, examples, examples.at(0), settings, lambda part: q.sampled(0, part))
        return {key: w.grad for key, w in {**trainable.weights, **q.sigmas}.items() if w.grad is not None}

    one, two = gradients(False), gradients(True)
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-7)


def test_one_step_that_is_not_finite_is_left_out_and_a_second_one_ends_it_with_the_state_saved(tmp_path, monkeypatch):
    bad: set[int] = set()
    whole = training.accumulate

    def unlucky(own, examples, batch, settings, sampled, processes):
        loss, parts = whole(own, examples, batch, settings, sampled, processes)
        return (math.nan if sampled.args[0] in bad else loss), parts

    def opened(name):
        return Run.open(tmp_path / name, "finetune", "x", {}, {}, seed=0, device="cpu", command=(), progress="none")

    method, watch = dataclasses.replace(BOTH["dreambooth"], steps=6), Watch(sample_count=0, checkpoint_every=1)
    monkeypatch.setattr(training, "accumulate", unlucky)
    bad.add(2)
    with opened("once") as run:
        found = method(model(), training_set(), run=run, watch=watch)
        assert [(row["step"], row["lr"]) for row in run.logged("train")] == [
            (1, 1e-3),
            (2, 1e-3),
            (4, 5e-4),
            (5, 5e-4),
            (6, 5e-4),
        ]
        assert any("not finite at step 3" in warning for warning in run.warnings)
    assert found.losses.isnan().tolist() == [False, False, True, False, False, False]
    assert torch.isfinite(torch.cat([value.flatten() for value in weights(found.model).values()])).all()
    bad.add(4)
    with opened("twice") as run:
        with pytest.raises(IntaglioError, match="not finite at step 5"):
            method(model(), training_set(), run=run, watch=watch)
        bad.remove(4)
        again = method(model(), training_set(), run=run, watch=watch)
    assert same(weights(again.model), weights(found.model)), "the halved rate is part of the state"
    bad.add(1)
    with pytest.raises(IntaglioError, match="not finite at step 2"):
        dataclasses.replace(method, bayesian=False)(model(), training_set())


def test_sigmas_learn_and_are_told(tmp_path):
    method = dataclasses.replace(BOTH["dreambooth"], learning_rate=1e-3, kl_weight=100.0)
    with Run.open(tmp_path, "finetune", "dreambooth", {}, {}, seed=0, device="cpu", command=(), progress="none") as run:
        method(model(), training_set(), run=run, watch=Watch(sample_count=0))
        (row,) = run.logged("sigma")
        assert row["step"] == 3
        assert 0 < row["sigma_5pct"] < 0.01 < row["sigma_95pct"]
        divergences = [row["divergence"] for row in run.logged("train")]
        assert divergences[0] == 0 < divergences[1]
        assert any("kl_weight 100 makes the divergence" in warning for warning in run.warnings)


def test_warnings_come_before_the_first_step():
    def told(settings, of, pictures):
        return warnings_of(settings, of, pictures, adapter=False)

    noisy = posterior({"a.ff.weight": torch.full((4, 4), 0.5).tril()}, sigma=0.2)
    assert any("a.ff.weight" in warning for warning in told(BayesianTraining(sigma=0.2, bayesian=True), noisy, 1))
    quiet = posterior({"a.ff.weight": torch.full((4, 4), 0.5).tril()})
    steps = DreamBooth(steps=401, bayesian=True)
    assert told(steps, quiet, 4) == []
    assert "take more than 400 steps" in told(dataclasses.replace(steps, steps=400), quiet, 4)[0]
    adapter = warnings_of(LoRATuning(steps=800, bayesian=True), quiet, 4, adapter=True)
    assert "take more than 800 steps" in adapter[0]
    assert "meant for few" in told(DreamBooth(steps=9000, bayesian=True), quiet, 51)[0]
