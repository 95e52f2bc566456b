"""What holds of every method of fine-tuning; a method joins by its file and its own test."""

import dataclasses
import math

import pytest
import torch

import tiny
from adapt_scenes import learned, model, same, training_set, weights
from intaglio.adapt import bayesian
from intaglio.bench.kit.methods import default_method
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.embedded_models import EmbeddedModel
from rows import matrix

ROWS = {row.method: row for key, row in matrix().items() if key == f"finetune {row.method}"}
every_method = pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])
with_random_weights = pytest.mark.parametrize(
    "row", [pytest.param(row, id=name) for name, row in ROWS.items() if not load(row.target).private]
)
both_kinds = pytest.mark.parametrize("kind", ["sd", "sdxl"])


def private(row):
    return load(row.target).private


def pictures(row, count=3):
    """Training pictures, with class pictures where the method takes them."""
    return training_set(count, 0 if private(row) else 2)


def made(row, **changes):
    return load(row.target)(**{**row.small, **changes})


@every_method
def test_it_says_of_itself_what_reports_and_benches_need(row):
    kind = load(row.target)
    assert kind.name == row.method
    assert kind.reading[0].isupper()
    assert not kind.reading.endswith(".")
    assert kind.gives in ("model", "adapter")
    assert kind.role in ("method", "baseline")
    names = {field.name for field in dataclasses.fields(kind)}
    for suited in ({"learning_rate": kind.embedded_rate}, kind.bench):
        assert set(suited) <= names
        kind(**{"bayesian": not kind.private, **suited})


@every_method
def test_an_embedded_model_is_tuned_at_a_rate_of_its_own(row):
    kind, other, embedded = load(row.target), model(), model()
    embedded.source = EmbeddedModel("emoji64").folder
    rates = [kind(**row.small | {"learning_rate": None}).suited(one).learning_rate for one in (other, embedded)]
    assert rates == [kind.usual_rate, kind.embedded_rate]
    assert made(row, learning_rate=3e-3).suited(embedded).learning_rate == 3e-3


@every_method
def test_a_model_without_what_it_needs_is_refused_before_any_work(row, monkeypatch):
    with pytest.raises(BadInput, match=f"{row.method} needs a model that .*embeds prompts.*; TarFlow does not"):
        check_needs(made(row), tiny.flow(double=False))
    lacking = model()
    monkeypatch.delattr(LatentDiffusion, "predict")
    monkeypatch.setattr(LatentDiffusion, "copy", lambda self: pytest.fail("worked"))
    for work in (made(row), made(row).plan):
        with pytest.raises(BadInput, match=f"{row.method} needs a model that .*; tiny does not"):
            work(lacking, training_set())


@every_method
def test_it_gives_what_it_says(row, tmp_path):
    base = model()
    found = made(row)(base, training_set())
    assert (found.adapter is not None) == (load(row.target).gives == "adapter")
    assert (found.method, found.base, found.base_fingerprint) == (row.method, base.name, base.fingerprint)
    assert not found.model.same_weights(base), "an audit must see that the tuned model is another one"
    figures = found.figures()
    assert (figures["reading"], figures["pictures"], figures["prompt"]) == (load(row.target).reading, 3, "red cat")
    assert figures["steps"] == len(found.losses) == row.small["steps"]
    found.save(tmp_path, name="cat")
    assert f"{found.reading}: a " in (tmp_path / "README.md").read_text()
    assert f"- {row.method}\n" in (tmp_path / "README.md").read_text()


@every_method
def test_what_it_trains_belongs_to_the_copy_and_all_of_it_moves(row):
    own, method = model(), made(row, bayesian=not private(row))
    trainable = method.trainable(own)
    assert (trainable.adapter is not None) == (method.gives == "adapter")
    assert trainable.scales.keys() <= trainable.weights.keys()
    assert all(weight.dtype == torch.float32 and weight.is_leaf for weight in trainable.weights.values())
    assert all(0 < scale < math.inf for scale in trainable.scales.values())
    random = trainable.random_scales(method)
    assert private(row) or 0 < len(random) <= len(trainable.scales)
    assert trainable.random_scales(dataclasses.replace(method, bayesian=False)) == {}
    if trainable.adapter is None:
        held = {id(weight) for part in own.parts.values() for weight in part.parameters()}
        assert {id(weight) for weight in trainable.weights.values()} <= held


@with_random_weights
def test_the_bayesian_form_makes_its_random_targets_random(row):
    method = made(row, bayesian=True, random_targets=("attn1",))
    random = method.trainable(model()).random_scales(method)
    assert random
    assert all(".attn1." in name for name in random)
    wrong = dataclasses.replace(method, random_targets=("attn1", "nowhere"))
    with pytest.raises(BadInput, match="'nowhere' in its path"):
        wrong(model(), training_set())


@every_method
@both_kinds
def test_the_base_is_left_as_found_and_the_result_is_repeatable(row, kind):
    base, method = model(kind=kind), made(row)
    base.denoiser.conv_in.requires_grad_(False)
    before, flags = weights(base), [weight.requires_grad for weight in base.denoiser.parameters()]
    one, two = method(base, pictures(row)), method(base, pictures(row))
    assert same(before, weights(base))
    assert flags == [weight.requires_grad for weight in base.denoiser.parameters()]
    assert all(weight.grad is None for weight in base.denoiser.parameters())
    assert not any(module._forward_hooks for module in base.denoiser.modules())
    assert same(learned(one), learned(two))
    assert torch.equal(one.losses, two.losses)
    assert not any(weight.requires_grad for weight in one.model.denoiser.parameters())
    assert not any(module.training for part in one.model.parts.values() for module in part.modules())
    assert not any(module._forward_hooks for module in one.model.denoiser.modules())


@every_method
def test_the_base_is_left_as_found_after_an_error(row, monkeypatch):
    base, calls = model(), []
    before = weights(base)
    whole = type(base).error

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("broken")
        return whole(self, *arguments)

    monkeypatch.setattr(type(base), "error", failing)
    with pytest.raises(RuntimeError, match="broken"):
        made(row)(base, training_set())
    assert same(before, weights(base))
    assert not any(module._forward_hooks for module in base.denoiser.modules())


@every_method
@both_kinds
def test_gradient_checkpointing_changes_nothing(row, kind):
    method = made(row, text_encoder=True)
    plain = method(model(kind=kind), training_set())
    spared = dataclasses.replace(method, gradient_checkpointing=True)(model(kind=kind), training_set())
    for one, two in zip(learned(plain).values(), learned(spared).values(), strict=True):
        assert torch.allclose(one.float(), two.float(), rtol=1e-3, atol=1e-5)
    assert not spared.model.denoiser.is_gradient_checkpointing


@every_method
@both_kinds
def test_text_encoders_are_trained_only_when_asked(row, kind):
    base, data = model(kind=kind), training_set()
    parts = {"text_encoder"} | ({"text_encoder_2"} if kind == "sdxl" else set())
    for asked, expected in ((False, {"denoiser"}), (True, {"denoiser", *parts})):
        method = made(row, text_encoder=asked)
        assert {name.partition(".")[0] for name in method.trainable(base.copy()).weights} == expected
        found = method(base, data).model
        changed = {part for part in parts if found.part_fingerprint(part) != base.part_fingerprint(part)}
        assert changed == (parts if asked else set())


@pytest.fixture(scope="module")
def plain():
    """What a row learns as it is, once: tests only read it."""
    known = {}

    def once(row):
        if row.key not in known:
            known[row.key] = learned(made(row)(model(), pictures(row)))
        return known[row.key]

    return once


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 3},
        {"learning_rate": 5e-4},
        {"schedule": "cosine"},
        {"warmup": 2},
        {"betas": (0.5, 0.5)},
        {"weight_decay": 0.5},
        {"clip": 1e-3},
        {"ema": 0.5},
        {"snr_gamma": 5.0},
        {"prior_weight": 0.3},
        {"caption_dropout": 0.9},
        {"text_encoder": True},
        {"bayesian": True},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
@every_method
def test_every_setting_reaches_the_weights(row, plain, change):
    if private(row) and change.keys() & {"batch", "bayesian", "prior_weight"}:
        return
    assert not same(plain(row), learned(made(row, **change)(model(), pictures(row))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch": 0},
        {"micro_batch": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"warmup": -1},
        {"steps": 3, "warmup": 4},
        {"betas": (0.9, 1.0)},
        {"weight_decay": -0.1},
        {"clip": 0.0},
        {"ema": 1.0},
        {"ema": 0.0},
        {"snr_gamma": 0.0},
        {"prior_weight": -1.0},
        {"caption_dropout": 1.1},
        {"seed": -1},
    ],
)
@every_method
def test_wrong_settings_are_refused_by_name(row, wrong):
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        load(row.target)(**wrong)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bayesian": True, "sigma": 0.0}, "sigma must be above 0"),
        ({"bayesian": True, "kl_weight": -1.0}, "kl_weight must not be negative"),
        ({"bayesian": True, "kl_weight": 1.0, "prior_sigma": 0.0}, "prior_sigma must be above 0"),
        ({"bayesian": True, "random_targets": ()}, "random_targets must name"),
        ({"bayesian": True, "text_encoder": True}, "text_encoder does not go with bayesian"),
        ({"sigma": 0.02}, "sigma acts only with bayesian"),
        ({"kl_weight": 0.1}, "kl_weight acts only with bayesian"),
        ({"random_targets": ("ff",)}, "random_targets acts only with bayesian"),
        ({"bayesian": True, "prior_sigma": 0.02}, "prior_sigma acts only with kl_weight above 0"),
        ({"bayesian": True, "kl_direction": "posterior-to-prior"}, "kl_direction acts only with kl_weight above 0"),
        ({"bayesian": True, "kl_reduction": "mean"}, "kl_reduction acts only with kl_weight above 0"),
    ],
)
@every_method
def test_options_that_make_no_sense_are_refused(row, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(row.target)(**changes)


@every_method
def test_a_plan_leaves_no_trace(row):
    method, base, data = made(row), model(), pictures(row, 2)
    before, expected = weights(base), weights(method(base, data).model)
    torch.manual_seed(0)
    plan = method.plan(base, data)
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(0))
    assert same(before, weights(base))
    assert same(expected, weights(method(base, data).model))
    assert plan.trainable == sum(weight.numel() for weight in method.trainable(base.copy()).weights.values())


@every_method
def test_memory_errors_come_with_advice(row, monkeypatch):
    def failing(self, *arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(type(model()), "error", failing)
    for work in (lambda method: method(model(), training_set()), lambda method: method.plan(model(), training_set())):
        with pytest.raises(IntaglioError, match="--micro-batch 1, or --gradient-checkpointing, or "):
            work(made(row, batch=2))


@with_random_weights
def test_too_few_steps_for_its_random_weights_are_warned_of(row):
    """An adapter takes twice the steps of full weights: 100 and 200 for a picture."""
    method = default_method("finetune", row.method, steps=1, bayesian=True)
    trainable = method.trainable(model())
    q = bayesian.Posterior(trainable.weights, trainable.random_scales(method), method)
    steps = {"model": 400, "adapter": 800}[method.gives]
    for count, expected in ((steps, True), (steps + 1, False)):
        told = bayesian.warnings_of(dataclasses.replace(method, steps=count), q, 4, adapter=method.gives == "adapter")
        assert any(f"take more than {steps} steps" in warning for warning in told) == expected
