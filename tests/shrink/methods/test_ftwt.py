import json

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.predicted_units import predict_units, predictable, predicted_blocks, watched_units
from intaglio.runs.run import Run
from intaglio.shrink.heal_predicted import PredictedHealing
from intaglio.shrink.methods.ftwt import FTWT
from intaglio.shrink.methods.rtn import RoundToNearest
from intaglio.shrink.picture_costs import layer_multiplications, picture_costs
from intaglio.shrink.unit_choice import UnitChoice, masses_of
from shrink_scenes import planted_rows

SMALL = {"steps": 2, "batch": 4, "learning_rate": 1e-3, "predictor_rate": 5.0}
BAD = {"rho": 1.5}
PIECES = {"micro_batch": 2, "gradient_checkpointing": True}
FAST = {"steps": 6, "batch": 4, "learning_rate": 1e-3, "predictor_rate": 5.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("model") / "m"))


@pytest.fixture(scope="module")
def found(model):
    return FTWT(**FAST)(model, planted_rows())


def drawn_masses(rows=5, units=12):
    scores = torch.rand(rows, units, generator=torch.Generator().manual_seed(2)) ** 3
    return scores / scores.sum(1, keepdim=True)


@pytest.mark.parametrize("rho", [0.2, 0.7, 0.9, 0.99])
def test_labels_reach_the_mass_and_one_unit_fewer_does_not(rho):
    masses = drawn_masses()
    labels = UnitChoice("mass", rho).labels(masses)
    for mass, kept in zip(masses.double().tolist(), labels.tolist(), strict=True):
        chosen = sorted(one for one, keep in zip(mass, kept, strict=True) if keep)
        assert sum(chosen) >= rho - 1e-12
        assert sum(sorted(mass, reverse=True)[: len(chosen) - 1]) < rho
        assert min(chosen) >= max((one for one, keep in zip(mass, kept, strict=True) if not keep), default=0)


def test_a_unit_that_crosses_the_mass_is_kept():
    masses = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
    assert UnitChoice("mass", 0.75).labels(masses).tolist() == [[True, True, False, False]]
    assert UnitChoice("mass", 0.76).labels(masses).tolist() == [[True, True, True, False]]
    assert UnitChoice("mass", 0.1).labels(masses).tolist() == [[True, False, False, False]]


def test_all_units_are_kept_at_one_and_so_large_a_share_where_it_is_of_units():
    masses = drawn_masses()
    masses[0, 0] = 0
    assert bool(UnitChoice("mass", 1.0).labels(masses).all())
    uniform = UnitChoice("uniform", 0.5).labels(masses)
    assert uniform.sum(1).tolist() == [6] * 5
    for row, kept in zip(masses, uniform, strict=True):
        assert set(row.topk(6).indices.tolist()) == set(kept.nonzero()[:, 0].tolist())


def test_mass_is_the_largest_magnitude_over_places_over_the_sum():
    units = torch.tensor([[[1.0, -3.0], [0.5, 0.5], [0.0, -0.5]]])
    assert masses_of(units).tolist() == [[0.75, 0.125, 0.125]]
    assert masses_of(torch.zeros(1, 2, 4)).tolist() == [[0.0, 0.0]]


def test_at_rho_one_the_network_stays_what_it_was(model):
    kept = FTWT(**{**FAST, "rho": 1.0, "learning_rate": 1e-12})(model, planted_rows())
    assert set(kept.facts["predicted"].values()) == {1.0}
    rounded = kept.model.copy()
    with torch.no_grad():
        for name, weight in rounded.denoiser.named_parameters():
            if ".predictor." not in name:
                weight.copy_(model.denoiser.get_parameter(name))
        (one,) = planted_rows(4).batches(model, 4)
        assert torch.equal(rounded.predict(*one), model.predict(*one))


def healing(model, student, **weights):
    settings = FTWT(**{**FAST, **weights})
    names = dict(student.denoiser.named_parameters())
    shares = {name: 0.0 for name in names if ".predictor." in name}
    about = {"choice": UnitChoice("mass", 0.8), "rate": 0.5, "learning": 1}
    return PredictedHealing(model, student, planted_rows(), settings, names, shares, **about)


def predictor_weights(student):
    return {
        f"{name}.{key}": weight.detach().clone()
        for name, block in predicted_blocks(student.denoiser).items()
        for key, weight in block.predictor.named_parameters()
    }


def test_predictors_do_not_see_the_loss_of_the_healing_and_take_one_step_of_plain_descent(model):
    """The step is derived anew: (σ - label)·input over the rows, over the number of blocks, at the learning rate."""
    after = []
    for weight in (1.0, 1000.0):
        student = model.copy()
        predict_units(student.denoiser, predictable(student.denoiser))
        one = healing(model, student, output=weight)
        for weights in student.denoiser.parameters():
            weights.requires_grad_(True)
        batch = one._asked.take([0, 1, 2, 3])
        one._now.update(learns=True, loss=0.0)
        errors = one._errors([0, 1, 2, 3])
        named = student.denoiser.named_parameters()
        assert {".predictor." in name for name, weights in named if weights.grad is not None} == {True}
        torch.stack(list(errors.values())).sum().backward()
        after.append({n: w.grad.clone() for n, w in student.denoiser.named_parameters() if ".predictor." in n})
    assert all(torch.equal(after[0][name], after[1][name]) for name in after[0])
    inputs = {}
    blocks = predicted_blocks(student.denoiser)
    keep = {name: lambda _, given, out, name=name: inputs.update({name: (given[0], out)}) for name in blocks}
    hooks = [block.predictor.register_forward_hook(keep[name]) for name, block in blocks.items()]
    with watched_units(student.denoiser) as seen:
        student.predict(*batch)
    for hook in hooks:
        hook.remove()
    for name, (x, logits) in inputs.items():
        label = UnitChoice("mass", 0.8).labels(masses_of(seen[name][0])).float()
        gradient = (logits.sigmoid() - label).T @ x / 4 / len(blocks)
        assert torch.allclose(after[0][f"{name}.predictor.weight"], gradient, atol=1e-6)


def test_predictors_learn_in_the_first_steps_alone_and_the_others_in_all(model):
    student = model.copy()
    predict_units(student.denoiser, predictable(student.denoiser))
    first = predictor_weights(student)
    about = {"steps": 2, "batch": 2, "learning_rate": 1e-3}
    one = healing(model, student, **about)
    one(Run.none())
    moved = predictor_weights(student)
    assert any(not torch.equal(first[name], moved[name]) for name in first)
    again = model.copy()
    predict_units(again.denoiser, predictable(again.denoiser))
    healing(model, again, **{**about, "steps": 1})(Run.none())
    # One step of the two, whose learning rate differs: predictors are the same after it and stay so.
    assert all(torch.equal(moved[name], one) for name, one in predictor_weights(again).items())


def test_fewer_units_are_kept_at_less_mass_and_the_multiplications_say_so(model, found):
    less = FTWT(**{**FAST, "rho": 0.3, "predictor_rate": 50.0})(model, planted_rows())
    shares = [one.facts["multiplications"]["share"] for one in (less, found)]
    assert shares[0] < shares[1]
    assert len(set(less.facts["predicted"].values())) > 1


def test_multiplications_are_those_of_the_kept_units(model, found):
    rows = planted_rows().held
    whole = layer_multiplications(model, rows)
    assert whole["conv_in"] == 8 * 8 * tiny.CHANNELS * model.denoiser.conv_in.out_channels * 9
    costs = picture_costs(model, found.model, rows, 4)
    assert costs["multiplications"]["before"] == sum(whole.values())
    left = sum(whole.values())
    for name, block in predicted_blocks(found.model.denoiser).items():
        layers = ["conv2"] if "resnets" in name else ["net.0.proj", "net.2"]
        left -= (1 - costs["predicted"][name]) * sum(whole[f"{name}.{layer}"] for layer in layers)
        left += block.predictor.weight.numel()
    assert costs["multiplications"]["after"] == pytest.approx(left)
    assert min(costs["call_ms"].values()) > 0


def test_static_predictors_give_every_picture_the_units_of_most_mean_mass(model):
    fixed = FTWT(**{**FAST, "choice": "static", "rho": 0.6})(model, planted_rows())
    sums, rows = {}, planted_rows().learned
    twin = model.copy()
    predict_units(twin.denoiser, predictable(twin.denoiser))
    with torch.no_grad(), watched_units(twin.denoiser) as seen:
        for one in rows.batches(twin, len(rows)):
            twin.predict(*one)
            sums = {name: masses_of(units).mean(0, keepdim=True) for name, (units, _) in seen.items()}
    for name, block in predicted_blocks(fixed.model.denoiser).items():
        assert not bool(block.predictor.weight.any())
        wanted = UnitChoice("mass", 0.6).labels(sums[name])[0]
        assert (block.predictor.bias > 0).tolist() == wanted.tolist()


def test_the_plan_counts_the_predictors_and_the_file_grows(model, found, tmp_path):
    plan = FTWT(**FAST).planned(model, 28)
    assert plan.after == found.bytes > plan.before
    read = load_model(found.save(tmp_path / "m"))
    assert read.same_weights(found.model)
    assert RoundToNearest(bits=8)(read).bytes < found.bytes


def test_kept_blocks_have_no_predictor_and_a_second_time_is_refused(model, found):
    some = FTWT(steps=1, batch=1, keep=("mid_block", "up_blocks"))(model, planted_rows())
    assert all(name.startswith("down_blocks") for name in predicted_blocks(some.model.denoiser))
    with pytest.raises(BadInput, match="predictors already"):
        FTWT(**FAST).check(found.model)
    with pytest.raises(BadInput, match="fewer names to keep"):
        FTWT(keep=("mid_block", "up_blocks", "down_blocks")).check(model)


def test_the_command_tells_multiplications_and_its_page_the_blocks(model, tmp_path, capsys):
    words = ["--prompt", "dog", "--samples", "0", "--rows", "32", "--runs", str(tmp_path / "runs")]
    small = ["--steps", "1", "--batch", "1"]
    assert main(["shrink", "ftwt", "--model", str(model.source), *small, *words]) == 0
    assert "of the multiplications" in capsys.readouterr().err
    (run,) = (tmp_path / "runs").glob("shrink-ftwt-*")
    summary = json.loads((run / "run.json").read_text())["summary"]
    page = (run / "report.html").read_text()
    assert all(name in page for name in summary["predicted"])
    assert "in a batch all are computed" in page
