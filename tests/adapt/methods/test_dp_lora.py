"""DP-LoRA against its definition: what one picture can move, what it is told, what it refuses."""

import math
import shutil

import pytest
import torch

from adapt_scenes import learned, model, same, training_set
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.dp_lora import DPLoRATuning
from intaglio.adapt.private_steps import PrivateSteps
from intaglio.adapt.settings import Watch
from intaglio.adapt.training import freeze
from intaglio.adapt.training_examples import TrainingExamples
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.learning import private_budget
from intaglio.learning.private import known_key
from intaglio.learning.sharing_processes import Processes
from intaglio.metrics import privacy
from intaglio.metrics.privacy import NoisySteps, gaussian_delta
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run

SMALL = {"steps": 4, "draws": 2, "learning_rate": 1e-3, "noise_seed": 1}
BAD = {"epsilon": 0.0}
PIECES = {"micro_batch": 1}
ABOUT = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}


def step_of(base, data, weights, settings, **changes):
    """The gradient of one step, without noise unless it is asked for."""
    freeze(base)
    for weight in weights.values():
        weight.requires_grad_(True)
    about = {"sigma": 1e-12, "bound": 1e9, "rate": 1.0, "key": known_key(3)} | changes
    made = NoisySteps(rate=about["rate"], sigma=about["sigma"], steps=1)
    count = len(data.images)
    steps = PrivateSteps(base, weights, settings, made, count, about["bound"], settings.draws, about["key"])
    steps(TrainingExamples(base, data, settings), 0)
    return torch.cat([weight.grad.flatten() for weight in weights.values()]) * made.rate * count


def scene(settings):
    base = model()
    trainable = settings.trainable(base)
    return base, trainable


def test_a_step_is_the_sum_of_gradients_by_hand():
    """Each picture's mean error over its own noises and timesteps, by autograd, clipped; then summed."""
    settings, data = DPLoRATuning(draws=2, rank=2), training_set(3)
    base, trainable = scene(settings)
    bound, total = 0.0, 0.0
    with trainable.attached(base):
        examples = TrainingExamples(base, data, settings)
        rows = []
        for index in range(3):
            seed = seed_32bit(0, "picture", data.images.hashes[index])
            drawn = examples.draws_of(index, 0, 2)
            assert torch.equal(drawn.noise, examples.draws_of(index, 0, 2).noise)
            assert seed != seed_32bit(0, "picture", data.images.hashes[index - 1])
            freeze(base)
            for weight in trainable.weights.values():
                weight.requires_grad_(True)
            condition = base.embed(["red cat", "red cat"])
            error = base.error(drawn.latents, drawn.noise, drawn.timesteps, condition).mean()
            found = torch.autograd.grad(error, list(trainable.weights.values()))
            rows.append(torch.cat([one.flatten() for one in found]))
        bound = float(sorted(row.norm() for row in rows)[1])
        total = sum(row * min(1.0, bound / float(row.norm())) for row in rows)
        taken = step_of(base, data, trainable.weights, settings, bound=bound)
    torch.testing.assert_close(taken, total, rtol=1e-4, atol=1e-7)


def test_one_picture_more_moves_a_step_by_no_more_than_the_bound_whatever_the_order():
    """The noises of others must not follow from the place or the number of pictures."""
    settings = DPLoRATuning(draws=2, rank=2)
    few, many = training_set(2), training_set(3)
    turned = TrainingSet(many.images[torch.tensor([2, 0, 1]).tolist()], "red cat")
    base, trainable = scene(settings)
    with trainable.attached(base):
        usual = step_of(base, many, trainable.weights, settings).norm() / 3
        bound = float(usual) / 2
        one, two, three = (
            step_of(base, data, trainable.weights, settings, bound=bound) for data in (few, many, turned)
        )
    assert float((two - one).norm()) == pytest.approx(bound, rel=1e-3)
    torch.testing.assert_close(two, three, rtol=1e-4, atol=1e-7)


def test_a_step_without_pictures_is_noise_alone():
    settings, data = DPLoRATuning(draws=1, rank=2), training_set(2)
    base, trainable = scene(settings)
    with trainable.attached(base):
        noise = step_of(base, data, trainable.weights, settings, rate=1e-9, sigma=2.0, bound=3.0)
    assert float(noise.square().mean().sqrt()) == pytest.approx(6.0, rel=6 / math.sqrt(2 * len(noise)))


def test_the_noise_is_the_least_that_keeps_the_promise():
    """By the closed form of full batches, and split over the tries."""
    data = training_set(3)
    for tries in (1, 2):
        found = DPLoRATuning(steps=9, epsilon=2.0, tries=tries).guarantee(data).report
        assert (found.tries, found.rate, found.records, found.accountant) == (tries, 1.0, 3, "closed-form")
        assert found.delta == pytest.approx(1 / 30)
        spent = gaussian_delta(2.0 / tries, 3.0 / found.sigma)
        less = gaussian_delta(2.0 / tries, 3.0 / (0.99 * found.sigma))
        assert spent <= found.delta / tries < less
        assert found.epsilon <= 2.0


def test_a_batch_below_all_pictures_is_a_rate_and_asks_for_less_noise(monkeypatch):
    asked = []
    monkeypatch.setattr(private_budget, "_noise", lambda *given: asked.append(given) or 1.5)
    monkeypatch.setattr(privacy, "epsilon_spent", lambda *given: 1.0)
    made = [DPLoRATuning(batch=batch, steps=7, accountant="rdp").guarantee(training_set(4)).report for batch in (1, 9)]
    assert [(one.rate, one.sigma, one.steps) for one in made] == [(0.25, 1.5, 7), (1.0, 1.5, 7)]
    assert asked == [(8.0, 1 / 40, 0.25, 7, "rdp"), (8.0, 1 / 40, 1.0, 7, "rdp")]
    assert DPLoRATuning(batch=1).fitted(training_set(4)).batch == 1
    assert DPLoRATuning().fitted(training_set(4)).batch == 4


def test_a_secret_is_fresh_and_goes_on_with_a_killed_run(tmp_path):
    data, settings = training_set(2), {**SMALL, "noise_seed": None, "steps": 3}
    watch = Watch(checkpoint_every=1, sample_count=0)

    class Stop:
        def after_step(self, step):
            self.step = step

        def stops(self):
            return getattr(self, "step", 0) >= 2

    with Run.open(tmp_path / "runs", "finetune", "dp-lora", {}, {}, **ABOUT) as run:
        DPLoRATuning(**settings)(model(), data, run=run, watch=watch, stop=Stop())
    found = []
    for name in ("one", "two"):
        shutil.copytree(tmp_path / "runs", tmp_path / name)
        with Run.open(tmp_path / name, "finetune", "dp-lora", {}, {}, **ABOUT) as run:
            found.append(learned(DPLoRATuning(**settings)(model(), data, run=run, watch=watch)))
    assert same(*found), "both go on with the secret of the first"
    assert not same(found[0], learned(DPLoRATuning(**settings)(model(), data)))


def test_only_up_is_trained_unless_down_is_asked_for():
    base = model()
    names = [set(DPLoRATuning(rank=2, train_down=asked).trainable(base).weights) for asked in (False, True)]
    assert all(name.endswith(".up") for name in names[0])
    assert names[1] == names[0] | {name.removesuffix("up") + "down" for name in names[0]}


def test_result_and_card_say_the_guarantee_and_nothing_that_was_computed_from_a_picture(tmp_path):
    captions = ["my secret", "another", "third"]
    data = TrainingSet(training_set(3, captions=captions).images)
    found = DPLoRATuning(**{**SMALL, "noise_seed": None, "steps": 1})(model(), data)
    figures = found.figures()
    assert figures["guarantee_holds"]
    assert figures["privacy"]["records"] == 3
    found.save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert f"- Privacy: {found.guarantee.report.sentence()}" in card
    assert "prompts and captions" in card
    assert not any(word in card for word in ("secret", "content hash", "Loss"))
    void = DPLoRATuning(**{**SMALL, "steps": 1})(model(), training_set(2))
    assert not void.figures()["guarantee_holds"]
    assert void.guarantee.sentence().startswith("void")
    void.save(tmp_path)
    assert "- Privacy: void: the noise follows from noise_seed" in (tmp_path / "README.md").read_text()


def test_what_would_break_the_promise_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(type(model()), "error", lambda *given: pytest.fail("worked"))
    base, few = model(), training_set(2)
    twice = TrainingSet(ImageSet.from_pixels(few.images.pixels[[0, 0]], ["a", "b"]), "cat")
    repeated = TrainingSet(ImageSet(*[*few.images.__dict__.values()][:3], (2, 1), few.images.hashes), "cat")
    tuner = DPLoRATuning(**SMALL)
    for data, said in ((training_set(2, 2), "no class pictures"), (twice, "are there twice"), (repeated, "repeats")):
        with pytest.raises(BadInput, match=said):
            tuner(base, data)
        with pytest.raises(BadInput, match=said):
            tuner.plan(base, data)
    with pytest.raises(BadInput, match=r"delta 0.06 is above 0.05, a tenth of one picture in 2"):
        DPLoRATuning(delta=0.06)(base, few)
    for watch, said in (({"keep": "best"}, "--keep best"), ({"on_corruption": "stop"}, "--on-corruption stop")):
        with pytest.raises(BadInput, match=f"{said} looks at the private pictures"):
            tuner(base, few, watch=Watch(watch_every=1, **watch))
    with pytest.raises(BadInput, match="one process"):
        tuner(base, few, processes=Processes(0, 2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"delta": 1.0},
        {"bound": 0.0},
        {"draws": 0},
        {"tries": 0},
        {"noise_seed": -1},
        {"bayesian": True},
        {"precision": "float16"},
    ],
)
def test_wrong_settings_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DPLoRATuning(**wrong)
