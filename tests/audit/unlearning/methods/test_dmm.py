"""Datamodel matching against ridge regression, against brute force on the network, and on a planted teacher."""

import copy
from dataclasses import replace

import pytest
import torch

from audit_scenes import model
from intaglio.audit.influence.kronecker_factors import LayerFactors, moments
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods import dmm
from intaglio.audit.unlearning.methods.dmm import DatamodelMatching, Matched
from intaglio.audit.unlearning.tuning import embedded
from intaglio.errors import BadInput
from intaglio.runs.run import Run
from unlearning_scenes import latents

SMALL = {"steps": 3, "batch": 2, "timesteps": 1, "draws": 1}
BAD = {"damping": 0.0}
PIECES = {"micro_batch": 1}
FORGET, RETAIN = ["red cat", "dog"], ["cat", "red", "a dog"]


def ridge(seed=0, n=40, f=4, d=6):
    """X [n, d], y [n, 2] and a penalty, of which the first f rows are to be forgotten; float64."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=source, dtype=torch.float64)
    return x, torch.randn(n, 2, generator=source, dtype=torch.float64), f


def solved(x, y, penalty):
    """The [2, d] weights that minimise |x W^T - y|^2 + penalty |W|^2."""
    return torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y).T


def test_of_ridge_regression_the_change_is_the_first_order_part_of_the_exact_one():
    """Woodbury: without F the weights move by -H^-1 X_F^T (I - X_F H^-1 X_F^T)^-1 e_F; the inner inverse is what the
    estimate leaves out. Its curvature is that of the dense Gauss-Newton matrix of the layer.
    """
    x, y, f = ridge()
    n, penalty = len(x), 0.3
    w = solved(x, y, penalty)
    errors = y - x @ w.T
    inverse = torch.linalg.inv(x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype))
    hat = x[:f] @ inverse @ x[:f].T
    exact = (-inverse @ x[:f].T @ torch.linalg.solve(torch.eye(f, dtype=x.dtype) - hat, errors[:f])).T
    torch.testing.assert_close(w + exact, solved(x[f:], y[f:], penalty), rtol=0, atol=1e-14)

    # The loss of row i is |y_i - W x_i|^2 / 2: inputs x, gradients of independent unit signs, so that the matrix of the
    # mean loss is x^T x / n for each output, and the penalty is damping times its mean.
    signs = torch.stack([torch.ones(n), torch.tensor([1.0, -1.0]).repeat(n // 2)], 1).double()[:, None]
    sums = moments({"one": (x[:, None], signs)})
    factors = LayerFactors.of(sums["one.inputs"], sums["one.outputs"])
    values = (torch.linalg.eigvalsh(x.T @ x) / n).expand(2, -1)  # of independent inputs and gradients
    factors = replace(factors, values=values)
    dense = torch.kron(torch.eye(2, dtype=x.dtype), x.T @ x / n)
    lam = penalty / n
    method = DatamodelMatching(damping=lam / float(values.mean()))
    total = -(errors[:f].T @ x[:f])  # the sum of the gradients by W
    found = method.changes({"weight": factors}, total.flatten(), n)["weight"]
    brute = torch.linalg.solve(dense + lam * torch.eye(len(dense), dtype=x.dtype), total.flatten()) / n
    torch.testing.assert_close(found.flatten(), brute, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found, -(errors[:f].T @ x[:f]) @ inverse, rtol=1e-12, atol=1e-15)

    truth = solved(x[f:], y[f:], penalty)
    leverages = hat.diagonal()[:, None]
    by_one = (-inverse @ x[:f].T @ (errors[:f] / (1 - leverages))).T  # summed exact removals of single rows
    left = [float((x @ (w + change - truth).T).norm()) for change in (found, by_one, exact, 0 * found)]
    assert left[2] < 1e-13 < left[1] < left[0] < left[3]
    rest = x[f:] @ found.T
    assert float(rest.norm()) > 0.1 * float((x[:f] @ found.T).norm()), "the rest is moved too"


def test_a_student_that_matches_the_exact_outputs_is_the_retrained_model_which_plain_tuning_is_not():
    x, y, f = ridge(1)
    x = x * torch.logspace(0, -3, x.shape[1], dtype=x.dtype)
    w, truth = solved(x, y, 1e-8), solved(x[f:], y[f:], 1e-8)
    outputs = x @ truth.T  # the teacher's, of what is forgotten and of the rest
    matched = torch.linalg.lstsq(x, outputs).solution.T
    torch.testing.assert_close(x @ matched.T, outputs, rtol=0, atol=1e-12)
    tuned, rate = w.clone(), 1 / float(torch.linalg.eigvalsh(x[f:].T @ x[f:])[-1])
    for _ in range(1000):
        tuned -= rate * (tuned @ x[f:].T - y[f:].T) @ x[f:]
    assert float((x @ tuned.T - outputs).norm()) > 0.01 * float((x @ w.T - outputs).norm())


def test_the_teacher_moves_by_the_solved_sum_of_gradients_of_the_pictures_and_nothing_else_moves():
    net, forget, retain = model(), latents(FORGET), latents(RETAIN, seed=1)
    method = DatamodelMatching(timesteps=2, draws=1, damping=1e6)  # so that the curvature is its mean, layer by layer
    before = copy.deepcopy(net.denoiser.state_dict())
    teacher, facts = method.teacher(net, forget, retain, Run.none())
    assert all(torch.equal(one, before[name]) for name, one in net.denoiser.state_dict().items())
    assert not teacher.denoiser.training
    assert not any(one.requires_grad for one in teacher.denoiser.parameters())
    noises = list(dmm.shared_noises(net, (4, 8, 8), 2, 1, seed=0, at_once=16))
    names = list(method._factored(net))
    fit = dmm.FactorFit(names, noises, 1, 0, "dmm")
    every = [*forget.asked, *retain.asked]
    factors = fit(net, every, torch.cat([forget.latents, retain.latents]), dmm.CURVATURE, Run.none())
    weights, moved = (
        dict(net.denoiser.requires_grad_(True).named_parameters()),
        dict(teacher.denoiser.named_parameters()),
    )
    noise, t = noises[0]
    loss = sum(
        net.error(one.expand_as(noise), noise, t, net.embed([caption])).mean()
        for one, caption in zip(forget.latents, forget.captions, strict=True)
    )
    found = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    for name, weight in weights.items():
        expected = found[name] / 1e6 / factors[name].values.mean().float() / 5 if name in names else torch.zeros(())
        torch.testing.assert_close(
            moved[name].detach() - weight.detach(), expected.expand_as(weight), rtol=5e-2, atol=2e-7
        )
    own = sum(float(found[name].square().sum()) for name in names)
    assert 0 < facts["gradient_share"] < 1
    assert own < sum(float(one.square().sum()) for one in found.values())


def test_the_change_is_linear_in_the_multiplier():
    x, y, f = ridge(2)
    w = solved(x, y, 0.1)
    factors = LayerFactors.of(x.T @ x, torch.eye(2, dtype=x.dtype))
    factors = replace(factors, values=torch.rand(2, 6, generator=torch.Generator().manual_seed(0), dtype=x.dtype))
    total = ((x[:f] @ w.T - y[:f]).T @ x[:f]).flatten()
    one, three = (
        DatamodelMatching(multiplier=size).changes({"weight": factors}, total, 40)["weight"] for size in (1.0, 3.0)
    )
    torch.testing.assert_close(three, 3 * one)
    assert float((x[f:] @ one.T).norm()) > 0


def test_the_student_is_taught_the_predictions_of_the_teacher_on_both_parts():
    net, teacher, student = model(), model(), model()
    for weight in teacher.denoiser.parameters():
        weight.data *= 1.02
    forget, retain = latents(FORGET), latents([*RETAIN, "red", "dog", "cat", "dog"], seed=1)
    method = DatamodelMatching(batch=5, retain_share=1.5)
    data = method.matched(forget, retain)
    assert data.captions[:2] == tuple(FORGET)
    assert len(data.captions) == 2 + 3
    assert all(any(torch.equal(one, other) for other in retain.latents) for one in data.latents[2:])
    assert len(DatamodelMatching(retain_share=100.0).matched(forget, retain).captions) == 9
    assert len(DatamodelMatching(retain_share=0.0).matched(forget, retain).captions) == 2
    objective = method.objective(Matched(teacher, student, data, embedded(net, data.captions)))
    loss = objective(0).value
    rows = dmm.batch_at(range(5), 0, 5, 0, "matched")
    noise, t = dmm.noise_at((5, 4, 8, 8), 0, 0), dmm.training_times(net.schedule, 5, 0, 0)
    x, text = net.noised(data.latents[rows], noise, t), net.embed([data.captions[row] for row in rows])
    with torch.no_grad():
        expected = (teacher.predict(x, t, text) - student.predict(x, t, text)).square().mean()
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert not any(one.grad is not None for one in teacher.denoiser.parameters())
    assert any(one.grad is not None for one in student.denoiser.parameters())


def test_training_closes_the_distance_to_the_teacher_in_the_planned_calls():
    net, forget, retain = model(), latents(FORGET), latents(RETAIN, seed=1)
    rows = []  # through the network and its copies, which share the hook
    net.denoiser.register_forward_hook(lambda module, given, output: rows.append(len(given[0])))
    method = DatamodelMatching(
        steps=10, batch=4, timesteps=1, draws=1, multiplier=3.0, learning_rate=1e-3, largest_change=None
    )
    record = method(net, Concept(()), forget=forget, retain=retain).record
    assert sum(rows) == method.planned(Concept(()), forget=2, retain=3).forward
    assert record.facts["last_loss"] < 0.7 * record.facts["first_loss"]
    assert record.forgotten == 2
    assert "2 pictures, taken out by dmm" in record.statement


def test_a_picture_that_is_to_be_forgotten_and_to_stay_is_refused():
    forget = latents(FORGET)
    with pytest.raises(BadInput, match="1 of the pictures to forget are among those that stay; leave them out"):
        DatamodelMatching()(model(), Concept(()), forget=forget, retain=latents([FORGET[0], "cat"]))


def test_lambda_is_raised_until_the_change_is_no_longer_than_allowed():
    x, y, f = ridge(2)
    factors = LayerFactors.of(x.T @ x, torch.eye(2, dtype=x.dtype))
    factors = {"weight": replace(factors, values=torch.logspace(-6, 0, 12, dtype=x.dtype).view(2, 6))}
    total = (-y[:f].T @ x[:f]).flatten()

    def size(method, damping=None):
        return float(method.changes(factors, total, 40, damping)["weight"].norm())

    free = DatamodelMatching(damping=1e-6, largest_change=None)
    assert free.damping_within(factors, total, 40, 2.0) == 1e-6
    bounded = replace(free, largest_change=0.05)
    assert size(free) > 10 * 0.1
    found = bounded.damping_within(factors, total, 40, 2.0)
    assert size(bounded, found) <= 0.05 * 2.0 < size(bounded, found / 1.02)
    loose = replace(free, largest_change=2 * size(free) / 2.0)
    assert loose.damping_within(factors, total, 40, 2.0) == 1e-6


def test_a_change_larger_than_the_weights_is_told(caplog):
    net, forget, retain = model(), latents(FORGET), latents(RETAIN, seed=1)
    for largest, told in ((None, True), (0.01, False)):
        caplog.clear()
        method = DatamodelMatching(timesteps=1, draws=1, damping=1e-9, largest_change=largest)
        _, facts = method.teacher(net, forget, retain, Run.none())
        assert (facts["relative_change"] > 1) is told
        assert (facts["damping"] > 1e-9) is not told
        assert ("give a --largest-change below 1" in caplog.text) is told
