import copy
import math
from dataclasses import dataclass, replace
from itertools import permutations

import pytest
import torch

import tiny
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.shrink.heal import Healing
from intaglio.shrink.healing_settings import HealingSettings
from shrink_scenes import planted_rows


@dataclass(frozen=True, kw_only=True)
class OnlyHealing(HealingSettings):
    name = "only-healing"
    kind = "prune"

    def planned(self, model, rows):
        raise AssertionError("a healing alone is asked for here")

    def __call__(self, model, calibration=None, *, base=None, run=None):
        raise AssertionError("a healing alone is asked for here")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("model") / "m"))


def worse(teacher):
    """A copy of the model with noise on its weights."""
    student, source = teacher.copy(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in student.denoiser.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=source)
    return student


def rows(count=6):
    noise = torch.randn(count, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(7))
    return replace(planted_rows(count), noise=noise)


def heal(teacher, student, data, **settings):
    weights = dict(student.denoiser.named_parameters())
    return Healing(teacher, student, data, OnlyHealing(**settings), weights)(Run.none())


def units(model, batch):
    """Outputs of residual blocks and transformers by name, and the prediction."""
    found = {}

    def keep(name):
        return lambda module, given, output: found.update({name: output[0] if isinstance(output, tuple) else output})

    kinds = ("ResnetBlock2D", "Transformer2DModel")
    hooks = [m.register_forward_hook(keep(n)) for n, m in model.denoiser.named_modules() if type(m).__name__ in kinds]
    with torch.no_grad():
        predicted = model.predict(*batch)
    for hook in hooks:
        hook.remove()
    return found, predicted


WEIGHTS = [{"output": 1.0}, {"output": 0.0, "task": 2.0}, {"output": 0.5, "task": 0.25, "features": 3.0}]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_loss_is_the_weighed_sum_written_out_again(teacher, weights):
    student, data = worse(teacher), rows()
    (batch,) = data.batches(teacher, len(data))
    mine, found = units(student, batch)
    theirs, wanted = units(teacher, batch)
    lost = 0.0
    for k in range(len(data)):
        lost += weights["output"] * float((found[k] - wanted[k]).square().mean())
        lost += weights.get("task", 0.0) * float((found[k] - data.noise[k]).square().mean())
        ratios = [float((mine[n][k] - theirs[n][k]).norm() ** 2 / theirs[n][k].norm() ** 2) for n in mine]
        lost += weights.get("features", 0.0) * sum(ratios) / len(ratios)
    told = heal(teacher, student, data, steps=1, batch=len(data), **weights)["loss"]
    assert told == pytest.approx(lost / len(data), rel=1e-4)


def test_rows_count_by_the_variance_of_their_last_features_among_those_of_like_timesteps(teacher):
    student, data = worse(teacher), replace(rows(), t=torch.tensor([900, 10, 910, 20, 930, 40]))
    (batch,) = data.batches(teacher, len(data))
    given = []
    hook = student.denoiser.conv_out.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    with torch.no_grad():
        found, wanted = student.predict(*batch), teacher.predict(*batch)
    hook.remove()
    errors, counted = (found - wanted).square().flatten(1).mean(1).tolist(), [0.0] * 6
    by_time = sorted(range(6), key=lambda k: int(data.t[k]))
    for part in (by_time[:2], by_time[2:4], by_time[4:5], by_time[5:]):  # four parts of nearly equal size
        spread = {k: float(given[0][k].var()) for k in part}
        for k in part:
            least, most = min(spread.values()), max(spread.values())
            counted[k] = math.exp(0.3 * ((spread[k] - least) / (most - least) if most > least else 0.0)) - 0.3

    def told(loss):
        return heal(teacher, worse(teacher), data, steps=1, batch=6, loss=loss)["loss"]

    lost = sum(z * error for z, error in zip(counted, errors, strict=True)) / 6
    assert told("bias") == pytest.approx(lost, rel=1e-4)
    assert told("plain") == pytest.approx(sum(errors) / 6, rel=1e-4)
    dealt = {sum(z * error for z, error in zip(zs, errors, strict=True)) / 6 for zs in permutations(counted)}
    assert min(abs(told("shuffled") - one) for one in dealt) < 1e-4 * lost


def test_a_worse_network_comes_nearer_to_the_full_one(teacher):
    student, data = worse(teacher), rows(8)
    (batch,) = data.batches(teacher, len(data))

    def lost():
        with torch.no_grad():
            return float((student.predict(*batch) - teacher.predict(*batch)).square().mean())

    before, state = lost(), {name: weight.clone() for name, weight in teacher.denoiser.state_dict().items()}
    heal(teacher, student, data, steps=25, batch=4, learning_rate=1e-3)
    assert lost() < 0.5 * before
    assert all(torch.equal(weight, state[name]) for name, weight in teacher.denoiser.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in student.denoiser.parameters())


def test_small_pieces_of_a_batch_give_the_same_up_to_rounding(teacher):
    found = []
    for piece in (None, 1, 3):
        student = worse(teacher)
        heal(teacher, student, rows(), steps=2, batch=4, features=0.1, task=0.1, micro_batch=piece)
        found.append(student.denoiser.conv_in.weight.detach())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found[2], found[0], rtol=1e-3, atol=1e-6)


def test_gradient_checkpointing_saves_less_and_gives_the_same_bits(teacher):
    found, sizes = [], []
    for again in (False, True):
        student, saved = worse(teacher), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one, kept=saved: kept.append(one.nbytes) or one, lambda x: x
        ):
            heal(teacher, student, rows(), steps=1, batch=4, features=0.1, gradient_checkpointing=again)
        assert not student.denoiser.is_gradient_checkpointing
        found.append(student.denoiser.conv_in.weight.detach())
        sizes.append(sum(saved))
    assert torch.equal(*found)
    assert sizes[1] < 0.8 * sizes[0]


def test_the_full_network_is_asked_once_for_a_row_or_in_every_step_for_features(teacher):
    asked, predict = [], teacher.predict
    counting = copy.copy(teacher)
    counting.predict = lambda latents, t, given: (asked.append(len(latents)), predict(latents, t, given))[1]
    for features, calls in ((0.0, 6), (0.1, 3 * 4)):
        asked.clear()
        figures = heal(counting, worse(teacher), rows(), steps=3, batch=4, features=features)
        assert figures["teacher_calls"] == sum(asked) == calls
    asked.clear()
    assert (
        heal(counting, worse(teacher), rows(), steps=1, batch=4, output=0.0, task=1.0)["teacher_calls"]
        == 0
        == len(asked)
    )


def test_weights_of_a_share_move_by_it(teacher):
    """The first update of AdamW is the learning rate times g / (|g| + 1e-8), for gradients that are not tiny."""
    student, data = worse(teacher), rows()
    before = {name: weight.detach().clone() for name, weight in student.denoiser.named_parameters()}
    names = ("conv_in.weight", "conv_out.weight")
    weights = {name: student.denoiser.get_parameter(name) for name in names}
    settings = OnlyHealing(steps=1, batch=6, learning_rate=1e-3)
    Healing(teacher, student, data, settings, weights, shares={names[1]: 0.25})(Run.none())
    moved = {name: float((weight - before[name]).detach().abs().median()) for name, weight in weights.items()}
    assert moved == {names[0]: pytest.approx(1e-3, rel=0.01), names[1]: pytest.approx(0.25e-3, rel=0.01)}
    left = [name for name, weight in student.denoiser.named_parameters() if torch.equal(weight, before[name])]
    assert set(left) == before.keys() - set(names)


def test_the_true_noise_is_weighed_only_where_it_is_known(teacher):
    with pytest.raises(BadInput, match="folder of pictures"):
        OnlyHealing(task=1.0).learned(teacher, planted_rows())
    with pytest.raises(BadInput, match="none are given"):
        OnlyHealing().learned(teacher, None)
    assert len(OnlyHealing(task=1.0).learned(teacher, rows(16))) == 14
    assert OnlyHealing(task=1.0).learned(teacher, rows(16)).noise.shape[0] == 14


def test_what_comes_after_the_gradients_sees_them_and_is_logged_unless_the_loss_is_not_finite(teacher, tmp_path):
    student, data, seen = worse(teacher), rows(), []
    weight = student.denoiser.conv_in.weight

    def after(step):
        seen.append((step, float(weight.grad.norm()) > 0))
        return {"counted": len(seen)}

    def healed(**settings):
        with Run.open(tmp_path, "t", "x", settings, {}, seed=0, device="cpu", command=["x"], progress="none") as run:
            given = OnlyHealing(steps=2, batch=2, **settings)
            Healing(teacher, student, data, given, {"w": weight}, after_backward=after)(run)
            return [row["counted"] for row in run.logged("healing")]

    assert healed() == [1, 2]
    assert seen == [(0, True), (1, True)]
    with torch.no_grad():
        student.denoiser.conv_out.weight[0] = float("nan")
    with pytest.raises(IntaglioError, match="not finite"):
        healed(micro_batch=1)
    assert len(seen) == 2


WRONG = [{"output": 0.0}, {"task": -1.0}, {"batch": 0}, {"micro_batch": 0}, {"ema": 1.0}, {"parts": ("text_encoder",)}]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_of_a_healing_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OnlyHealing(**wrong)


def test_weights_of_rows_go_with_them_into_small_pieces(teacher):
    data = replace(rows(), t=torch.tensor([900, 10, 910, 20, 930, 40]))

    def told(piece):
        return heal(teacher, worse(teacher), data, steps=1, batch=6, loss="bias", micro_batch=piece)["loss"]

    assert [told(piece) for piece in (1, 2, 3, 4)] == pytest.approx([told(None)] * 4, rel=1e-5)


def test_shuffled_weights_are_dealt_anew_in_every_step(teacher):
    data = replace(rows(), t=torch.tensor([900, 10, 910, 20, 930, 40]))
    healing = Healing(teacher, worse(teacher), data, OnlyHealing(steps=4, batch=6, loss="shuffled"), {})
    dealt = [healing._row_weights(step, list(range(6)), 6).tolist() for step in range(4)]
    assert all(sorted(one) == pytest.approx(sorted(dealt[0]), rel=1e-5) for one in dealt)
    assert len({tuple(round(z, 4) for z in one) for one in dealt}) > 1
