import math

import pytest
import torch
from scipy.integrate import quad

import tiny
from distill_scenes import planted
from intaglio.distill.divergences import WEIGHTS, divergence_weights
from intaglio.distill.heads import MiddleHead, middle_features
from intaglio.distill.methods import f
from intaglio.distill.methods.f import FDistillation
from intaglio.distill.two_players import TwoPlayers
from intaglio.errors import BadInput, IntaglioError
from intaglio.learning.loop import StepLoss
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.models.module_outputs import outputs_of
from intaglio.randomness import generator_32bit

SMALL = {"steps": 2, "batch": 2, "turns": 2}
BAD = {"turns": 0}
PIECES = {"micro_batch": 1, "gradient_checkpointing": True}
VARIANTS = {
    "kl": {
        "SMALL": {"divergence": "kl", "adversarial": 0.0, "guidance": 1.0},
        "BAD": {"critic_rate": 0.0},
        "PIECES": {},
    }
}

SHIFT = 0.7
"""Mean of the student's N(m, 1), beside the teacher's N(0, 1)."""
GENERATORS = {
    "reverse-kl": (lambda r: -math.log(r), 1.0),
    "kl": (lambda r: r * math.log(r), 1.0),
    "js": (lambda r: r * math.log(r) - (r + 1) * math.log((r + 1) / 2), 1.0),
    "hellinger": (lambda r: (math.sqrt(r) - 1) ** 2, 0.5),
    "softened-reverse-kl": (lambda r: (r + 1) * math.log((r + 1) / (2 * r)), 1.0),
    "neyman": (lambda r: (r - 1) ** 2 / r, 2.0),
    "jeffreys": (lambda r: (r - 1) * math.log(r), 1.0),
}
"""f of each divergence D(p | q) = ∫ q f(p / q), and what r² f''(r) is times h."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def normal(x, mean):
    return math.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi)


def divergence_at(name, m):
    generator, _ = GENERATORS[name]
    return quad(lambda x: normal(x, m) * generator(normal(x, 0) / normal(x, m)), -9, 9, limit=200)[0]


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_weighted_difference_of_scores_is_the_gradient_of_its_divergence(name):
    """Of N(0, 1) and N(m, 1) both in closed form: the scores differ by -m, and r is exp(m²/2 - m x)."""

    def weighted(x):
        r = torch.tensor([math.exp(SHIFT**2 / 2 - SHIFT * x)], dtype=torch.float64)
        return normal(x, SHIFT) * float(WEIGHTS[name](r)) * SHIFT

    found = GENERATORS[name][1] * quad(weighted, -9, 9, limit=200)[0]
    numeric = (divergence_at(name, SHIFT + 1e-3) - divergence_at(name, SHIFT - 1e-3)) / 2e-3
    assert found == pytest.approx(numeric, rel=1e-3)


def test_the_gradients_of_the_four_that_are_known_by_hand():
    x = SHIFT + torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r = torch.exp(SHIFT**2 / 2 - SHIFT * x)
    known = {"reverse-kl": 0.7, "kl": 0.7, "js": 0.3116, "hellinger": 4 * 0.1646}
    for name, gradient in known.items():
        assert float((WEIGHTS[name](r) * SHIFT).mean()) == pytest.approx(gradient, abs=4e-3)


def led_by(name, m, s):
    """Mean and deviation of a student N(m, s²) after descent by the weighted scores, exact over a grid of its noise.

    The teacher is ½ N(-2, ½²) + ½ N(2, ½²).
    """
    z = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    mass = torch.exp(-z.square() / 2) / torch.exp(-z.square() / 2).sum()
    for _ in range(400):
        x = m + s * z
        modes = torch.stack([-2 * (x - mode).square() for mode in (-2.0, 2.0)])
        log_p = modes.logsumexp(0) - math.log(2 * 0.5)
        score = (modes.softmax(0) * torch.stack([-4 * (x - mode) for mode in (-2.0, 2.0)])).sum(0)
        r = torch.exp(log_p + z.square() / 2 + math.log(s))
        led = WEIGHTS[name](r) * (score + z / s)
        m, s = m + 0.1 * float((mass * led).sum()), s + 0.1 * float((mass * led * z).sum())
    return m, s


def test_of_two_modes_one_is_sought_by_reverse_kl_and_both_are_covered_by_kl():
    """KL has the moments of the teacher: the mean 0, and the variance 2² + ½² of both modes."""
    m, s = led_by("kl", 1.0, 0.5)
    assert m == pytest.approx(0.0, abs=1e-3)
    assert s**2 == pytest.approx(4.25, abs=1e-2)
    m, s = led_by("reverse-kl", 1.0, 0.5)
    assert m == pytest.approx(2.0, abs=2e-2)
    assert s == pytest.approx(0.5, abs=2e-2)


def test_weights_have_the_mean_1_and_ratios_that_of_their_bin():
    ratios, bins = torch.tensor([1.0, 3.0, 10.0, 30.0]), torch.tensor([0, 0, 4, 4])
    found = divergence_weights(ratios, "kl", bins)
    assert found.tolist() == pytest.approx([0.5, 1.5, 0.5, 1.5])
    assert divergence_weights(ratios, "reverse-kl", bins).tolist() == [1, 1, 1, 1]
    js = torch.tensor([0.5 / 1.5, 1.5 / 2.5, 0.5 / 1.5, 1.5 / 2.5])
    assert torch.allclose(divergence_weights(ratios, "js", bins), js / js.mean())


def game(teacher, **settings):
    """A game of one update on the tiny teacher, with the student's gradient in its latents."""
    method = FDistillation(
        **{"batch": 4, "turns": 1, "steps": 3, "divergence": "reverse-kl", "adversarial": 0.0, **settings}
    )
    student = teacher.made_for(BakedSampling((999,), "ddim", "baked", (1.75, 1.75)), teacher.denoiser, "student")
    head = MiddleHead(int(teacher.denoiser.config.block_out_channels[-1]), 0)
    return f._Game(method, teacher, student, teacher.copy(), planted(), head, players(), 999)


def test_the_students_gradient_is_the_difference_of_the_clean_estimates(teacher):
    """(x̂ of the fake - x̂ of the guided teacher) / mean |x - x̂ of the teacher|, written out at one update."""
    played = game(teacher)
    with torch.no_grad():
        for weight in played.fake.denoiser.parameters():
            weight.mul_(1.05)
    seen = []
    played.student.predict = lambda x, t, given: seen.append(x) or (0.1 * x).requires_grad_()
    gradients = []
    made = f._Game.latents

    def watched(self, noise, given):
        latents = made(self, noise, given)
        if torch.is_grad_enabled():
            latents.register_hook(gradients.append)
        return latents

    with pytest.MonkeyPatch.context() as patch, teacher.frozen(), played.fake.frozen():
        patch.setattr(f._Game, "latents", watched)
        played._student_loss(0)
    z, t, captions, _ = played.drawn("student", 0)
    s, n = teacher.schedule.signals[999].float(), teacher.schedule.noises[999].float()
    clean = (z - n * 0.1 * z) / s
    added = torch.randn(clean.shape, generator=generator_32bit(0, "level", "noise", 0))
    with torch.no_grad():
        x = teacher.noised(clean, added, t)
        given, empty = teacher.embed(captions), teacher.embed([""] * 4)
        guided = teacher.predict(x, t, empty) + 1.75 * (teacher.predict(x, t, given) - teacher.predict(x, t, empty))
        faked = played.fake.predict(x, t, given)
    signal, level = (of(t)[:, None, None, None] for of in (teacher.schedule.signal, teacher.schedule.noise))
    wanted = (x - level * guided) / signal
    difference = (x - level * faked) / signal - wanted
    scale = (clean - wanted).abs().mean((1, 2, 3), keepdim=True)
    exact = difference / scale / clean[0].numel() / 4
    assert torch.allclose(gradients[0], exact, rtol=2e-2, atol=1e-3 * float(exact.abs().max()))


def test_latents_that_the_head_takes_for_real_are_led_the_more(teacher, monkeypatch):
    """KL has h = r = exp(logit) over its mean, here of one bin; h itself is no part of what is differentiated."""
    played, logits = game(teacher, divergence="kl"), torch.tensor([-1.0, 0.0, 0.5, 1.0])
    leaf, rows = torch.zeros(4, 4, 8, 8, requires_grad=True), torch.full((4,), 500)
    monkeypatch.setattr(f._Game, "drawn", lambda self, *_: (leaf.detach(), rows, ["dog"] * 4, leaf.detach()))
    monkeypatch.setattr(f._Game, "latents", lambda self, *_: leaf)
    compared = f._Compared(torch.ones(4, 4, 8, 8), logits, torch.zeros(4, 4, 8, 8))
    monkeypatch.setattr(f._Game, "_compared", lambda self, *_: compared)
    played._student_loss(0)
    h = logits.exp() / logits.exp().mean()
    assert torch.allclose(leaf.grad, (h / 4)[:, None, None, None].expand(4, 4, 8, 8))


def test_the_head_learns_that_the_set_is_real_and_the_student_is_not(teacher):
    """softplus(-logit) of the set's latents and softplus(logit) of the student's, at the same noise."""
    played = game(teacher)
    with teacher.frozen():
        turn = f._Turn.of(played, 0)
        loss = played._head_loss(turn).value
        given = teacher.embed(turn.captions)
        logits = []
        for clean in (turn.real, turn.clean):
            x = teacher.noised(clean, turn.added, turn.t)
            with torch.no_grad():
                logits.append(played.head(middle_features(teacher, x, turn.t, given)))
    exact = (torch.log1p(torch.exp(-logits[0])) + torch.log1p(torch.exp(logits[1]))).mean()
    assert loss == pytest.approx(float(exact), rel=1e-4)


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_gradients_of_pieces_are_those_of_the_whole(teacher, micro_batch):
    found = []
    for size in (None, micro_batch):
        played = game(teacher, micro_batch=size, adversarial=0.1, divergence="kl")
        with teacher.frozen(), played.fake.frozen():
            played.student.denoiser = teacher.copy().denoiser.requires_grad_(True)
            played._student_loss(0)
        found.append(played.student.denoiser.conv_in.weight.grad)
    assert torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-4 * float(found[0].abs().max()))


def test_the_head_pulls_towards_what_it_takes_for_real(teacher):
    """The gradient of softplus(-logit), by a small step along it: the logits rise against it."""
    played = game(teacher, adversarial=1.0)
    clean, added = planted(2).latents, torch.zeros(2, 4, 8, 8)
    t, given = torch.tensor([300, 600]), teacher.embed(["dog", "cat"])
    with teacher.frozen():
        logits, pull = played._judged(clean, added, t, given)
        after, _ = played._judged(clean - 0.5 * pull / pull.norm(), added, t, given)
    assert (after > logits).all()


def test_features_are_the_middle_blocks_and_no_hook_is_left(teacher):
    x, t, given = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), teacher.embed(["dog", "cat"])
    block = teacher.denoiser.mid_block
    with torch.no_grad():
        features = middle_features(teacher, x, t, given)
    assert features.shape[:2] == (2, teacher.denoiser.config.block_out_channels[-1])
    assert not block._forward_hooks
    with pytest.raises(ZeroDivisionError), outputs_of([block]):
        raise ZeroDivisionError
    assert not block._forward_hooks


def test_a_head_is_a_function_of_its_seed_and_its_logits_are_bounded():
    features = torch.randn(3, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(MiddleHead(8, 1)(features), MiddleHead(8, 1)(features))
    assert not torch.equal(MiddleHead(8, 1)(features), MiddleHead(8, 2)(features))
    assert MiddleHead(8, 1)(1e6 * features).abs().max() <= 10


def players(steps=4):
    settings = OptimizerSettings(steps=steps, learning_rate=0.1, weight_decay=0.0)
    other = Trainer({"b": torch.tensor([1.0])}, OptimizerSettings(steps=2 * steps, learning_rate=0.1))
    return TwoPlayers({"a": torch.tensor([1.0])}, settings, {"critic": other})


def played_to(trainer, last):
    for step in range(trainer.step, last):
        for turn in (2 * step, 2 * step + 1):
            weight = trainer.others["critic"]._weights["b"]

            def loss(weight=weight, turn=turn):
                value = (weight * math.sin(turn + 1)).sum()
                value.backward()
                return StepLoss(float(value.detach()))

            trainer.play("critic", turn, loss)
        a = trainer._weights["a"]
        value = (a * trainer.others["critic"]._weights["b"].detach()).sum()
        value.backward()
        trainer.update(float(value.detach()), trainer.gradient_norm())
    return trainer


def test_all_learners_go_on_from_one_saved_moment():
    whole = played_to(players(), 4)
    half = played_to(players(), 2)
    state = {key: value.clone() for key, value in half.state().items()}
    again = players()
    again.restore(state, 2)
    played_to(again, 4)
    for one, two in zip(again.state().items(), whole.state().items(), strict=True):
        assert one[0] == two[0]
        assert torch.equal(one[1], two[1])


def test_a_turn_that_was_made_is_not_made_again_and_a_loss_of_nan_ends_it():
    trainer = played_to(players(), 1)
    assert trainer.play("critic", 1, lambda: pytest.fail("made again")) == float(trainer.others["critic"].losses[1])
    with pytest.raises(IntaglioError, match="loss of the critic is not finite at update 3"):
        trainer.play("critic", 2, lambda: StepLoss(float("nan")))


@pytest.mark.parametrize("changes", [{}, {"guidance": 1.0, "adversarial": 0.0}])
def test_the_planned_calls_are_those_made(teacher, monkeypatch, changes):
    method, rows, predict = FDistillation(**SMALL, **changes), [], type(teacher).predict
    monkeypatch.setattr(type(teacher), "predict", lambda self, x, *rest: rows.append(len(x)) or predict(self, x, *rest))
    method(teacher, planted())
    assert method.planned(teacher).forward == sum(rows)


def test_a_student_draws_in_one_step_what_it_was_trained_to(teacher):
    found = FDistillation(**SMALL, timestep=800)(teacher, planted())
    assert found.model.sampling == BakedSampling((800,), "ddim", "baked", (1.75, 1.75))


def test_a_timestep_that_there_is_not_is_refused(teacher):
    with pytest.raises(BadInput, match="1 to 999"):
        FDistillation(**SMALL, timestep=1000).check(teacher)


def test_a_denoiser_without_a_middle_block_is_refused(teacher, monkeypatch):
    monkeypatch.setattr(teacher.denoiser, "mid_block", None)
    with pytest.raises(BadInput, match="no middle block"):
        FDistillation(**SMALL).check(teacher)
