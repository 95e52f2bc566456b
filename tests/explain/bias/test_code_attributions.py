"""Integrated gradients along codes, against autograd on the path, and their sum against both ends."""

import torch
from sklearn.linear_model import LogisticRegression

from bias_scenes import exact_codes, planted
from intaglio.explain.bias.code_attributions import code_attributions, strongest
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
    assert strongest(torch.tensor([[1.0, 3.0, 3.0, -9.0]]), 3).tolist() == [[1, 2, 0]]


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
