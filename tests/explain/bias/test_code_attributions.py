"""Integrated gradients along codes, against autograd on the path, and their sum against both ends."""

import torch
from sklearn.linear_model import LogisticRegression

from bias_scenes import exact_codes, planted
from intaglio.explain.bias.code_attributions import code_attributions, code_changes, strongest
from intaglio.explain.bias.step_classifiers import INVERSE_PENALTY, StepClassifiers, fitted_classifiers


def drawn_classifiers(steps: int, values: int, numbers: int) -> StepClassifiers:
    source = torch.Generator().manual_seed(3)
    weights = torch.randn(steps, values, numbers, generator=source)
    return StepClassifiers(weights, torch.randn(steps, values, generator=source), torch.zeros(steps).numpy())


def test_attributions_are_gradients_on_the_path_times_the_change_and_sum_to_its_ends():
    """Three values over sparse codes; the path of codes by hand, of many points, with softmax by autograd."""
    samples, z, dictionary = planted(n=6, steps=2)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    contrasts = [[k for k in range(6) if labels[k] != labels[row]] for row in range(6)]
    told = drawn_classifiers(2, 3, samples.walks.values[0, 0].numel())
    values, temperature = samples.walks.values, 2.0
    found = code_attributions(values, labels, contrasts, exact_codes(dictionary), told, temperature)
    expected, gained = torch.zeros(3, 8), torch.zeros(3)
    for row, value in enumerate(labels.tolist()):
        for step in range(2):
            begin = z[contrasts[row], step].mean(0)
            points = (torch.arange(200) + 0.5).view(-1, 1, 1) / 200
            on_path = (begin + points * (z[row, step] - begin)).requires_grad_()
            h = (on_path @ dictionary).movedim(1, 2).flatten(1)
            shares = ((h @ told.weights[step].T + told.offsets[step]) / temperature).softmax(1)
            (slopes,) = torch.autograd.grad(shares[:, value].sum(), on_path)
            expected[value] += (slopes.mean(0) * (z[row, step] - begin)).sum(0) / 2
            ends = torch.stack([begin, z[row, step]]) @ dictionary
            logits = ends.movedim(1, 2).flatten(1) @ told.weights[step].T + told.offsets[step]
            first, last = (logits / temperature).softmax(1)[:, value]
            gained[value] += (last - first) / 2
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(found.sum(1), gained, atol=2e-4, rtol=1e-3)


def test_the_strongest_are_by_size_and_the_first_of_equal_ones():
    attributions = torch.tensor([[1.0, 3.0, 3.0, -9.0]])
    assert strongest(attributions, torch.ones(1, 4), 3).tolist() == [[1, 2, 0]]
    assert strongest(attributions, torch.tensor([[1.0, -1.0, 1.0, 1.0]]), 3).tolist() == [[2, 0, 3]]


def test_a_code_that_marks_another_value_is_not_taken_though_its_attribution_is_above_0():
    """Three values, a code each: raised in drawings of it, and absent elsewhere."""
    labels = torch.arange(12) % 3
    dictionary = torch.eye(4)
    z = torch.full((12, 1, 4, 4), 0.1)
    for row, label in enumerate(labels.tolist()):
        z[row, ..., label] = 1.0
    values = (z @ dictionary).movedim(2, 3).unflatten(3, (2, 2))
    contrasts = [[k for k in range(12) if labels[k] != labels[row]] for row in range(12)]
    weights = torch.zeros(1, 3, 4, 4)
    weights[0, range(3), range(3)] = 1.0
    told = StepClassifiers(weights.flatten(2), torch.zeros(1, 3), torch.zeros(1).numpy())
    codes = exact_codes(dictionary)
    attributions = code_attributions(values, labels, contrasts, codes, told, 1.0)
    assert bool((attributions[0, 1:3] > 0).all())  # the trap
    changes = code_changes(values, labels, codes, contrasts)
    torch.testing.assert_close(changes[0], torch.tensor([0.9, -0.45, -0.45, 0.0]))
    assert strongest(attributions, changes, 1).flatten().tolist() == [0, 1, 2]
    assert 1 not in strongest(attributions, changes, 2)[0, :1].tolist()


def test_a_steps_classifier_is_that_of_all_numbers_though_it_is_fitted_in_the_span_of_the_rows():
    """More numbers than drawings: scikit-learn on the whole rows gives the same logits."""
    samples, _, _ = planted(n=12, steps=1, side=4)
    found = fitted_classifiers(samples.walks.values, samples.labels, 2)
    rows = samples.walks.values[:, 0].flatten(1).double()
    apart = rows - rows.mean(0)
    unit = apart.square().sum(1).mean().sqrt()
    model = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
    expected = model.fit((apart / unit).numpy(), samples.labels.numpy()).decision_function((apart / unit).numpy())
    logits = found.logits(samples.walks.values.flatten(2))[:, 0]
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], torch.from_numpy(expected).float(), atol=2e-3, rtol=1e-3)
