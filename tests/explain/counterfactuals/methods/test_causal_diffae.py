"""The objective's terms by hand, and a planted cause that is learnt from small pictures."""

import numpy as np
import pytest
import torch
from torch import nn

import attribute_scenes
from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.explain.counterfactuals.made_pictures import made
from intaglio.explain.counterfactuals.methods.causal_diffae import CausalCode, CausalDiffAE

SMALL = {"updates": 4, "rows": 4, "channels": 8, "steps": 2, "batch": 8}
BAD = {"prior": -1.0}
PIECES = {"batch": 4}

ALONE = AttributeGraph.of(("a",))


class Given(nn.Module):
    """An encoder that gives the same numbers for every picture."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor(numbers))

    def forward(self, pixels):
        return self.numbers.expand(len(pixels), -1)


def terms(method, numbers, labels, done=1.0, graph=ALONE):
    model = method.begun(graph, 16)
    model.encoder = Given(numbers)
    pixels = torch.zeros(len(labels), 3, 16, 16)
    return model, model.losses(pixels, torch.tensor(labels), done, torch.Generator().manual_seed(0))


def test_terms_are_those_of_the_objective():
    method = CausalDiffAE(channels=8, prior=0.5)
    found = {name: one.item() for name, one in terms(method, [0.6, np.log(0.25).item()], [[0.2], [1.0]])[1].items()}
    prior = 0.5 * (0.36 + 0.25 - 1 - np.log(0.25))
    assert found["prior"] == pytest.approx(0.5 * prior, abs=1e-6)
    assert found["labels"] == pytest.approx(0.5 * (0.16 + 0.16) / 2, abs=1e-6)
    assert found["mechanisms"] == pytest.approx(0.5 * (0.04 + 1) / 2, abs=1e-6)  # no causes: f is 0


def test_pictures_without_labels_add_nothing_to_the_terms_of_labels():
    """Half of four pictures have none: the terms are means over the others, and the prior one over all."""
    graph, nothing = AttributeGraph.of(("a", "b"), [("a", "b")]), [float("nan")] * 2
    method = CausalDiffAE(channels=8, prior=0.5)
    model = method.begun(graph, 16)
    code = torch.tensor([[0.1, 0.2], [0.5, 0.4], [0.9, -0.3], [0.7, 0.0]]).requires_grad_()
    model.encoder = Given([0.0, 0.0, 0.0, 0.0])
    model.encoder.forward = lambda pixels: torch.cat([code, torch.zeros(4, 2)], 1)
    line = nn.Linear(1, 1, bias=False)
    line.weight.data[:] = 2.0
    model.layer.mechanisms["1"] = line
    labels = torch.tensor([[0.3, 0.5], nothing, nothing, [0.6, 1.0]])
    found = model.losses(torch.zeros(4, 3, 16, 16), labels, 1.0, torch.Generator().manual_seed(0))
    # Values are a and 2 a + noise: (0.1, 0.4) and (0.7, 1.4).
    assert found["labels"].item() == pytest.approx(0.5 * (0.2**2 + 0.1**2 + 0.1**2 + 0.4**2) / 2, abs=1e-6)
    mechanisms = 0.5 * (0.3**2 + (0.5 - 0.6) ** 2 + 0.6**2 + (1.0 - 1.2) ** 2) / 2
    assert found["mechanisms"].item() == pytest.approx(mechanisms, abs=1e-6)
    assert found["prior"].item() == pytest.approx(0.5 * 0.5 * code.square().sum(1).mean().item(), abs=1e-6)
    (found["labels"] + found["mechanisms"]).backward()
    assert code.grad[1:3].abs().max() == 0
    assert code.grad[[0, 3]].abs().min() > 0
    assert line.weight.grad.isfinite().all()
    none = model.losses(torch.zeros(4, 3, 16, 16), torch.full((4, 2), float("nan")), 1.0, torch.Generator())
    assert none["labels"].item() == none["mechanisms"].item() == 0
    assert none["denoising"].item() > 0


def test_with_all_labels_the_terms_are_to_the_bit_those_of_whole_batches():
    images, table = attribute_scenes.squares()
    pixels, labels = 2 * images.pixels - 1, table.labels()
    model = CausalDiffAE(channels=8).begun(attribute_scenes.GRAPH, 16)
    found = model.losses(pixels, labels, 1.0, torch.Generator().manual_seed(0))
    (found["labels"] + found["mechanisms"]).backward()
    slopes = [one.grad.clone() for one in (*model.encoder.parameters(), *model.layer.parameters())]
    model.zero_grad()
    errors = [model.read(pixels, labels) - labels, model.layer.caused(labels) - labels]
    (0.5 * errors[0].square().sum(1).mean() + 0.5 * errors[1].square().sum(1).mean()).backward()
    for one, slope in zip((*model.encoder.parameters(), *model.layer.parameters()), slopes, strict=True):
        assert torch.equal(one.grad, slope)


def test_the_weight_of_labels_rises_and_the_denoising_error_is_always_there():
    method = CausalDiffAE(channels=8, rise=0.5)
    shares = []
    for done in (0.0, 0.25, 0.5, 0.9):
        _, found = terms(method, [0.6, 0.0], [[0.2]], done)
        assert found["denoising"].item() > 0
        shares.append(found["labels"].item() / (0.5 * 0.16))
        assert found["prior"].item() == pytest.approx(shares[-1] * 0.01 * 0.18, abs=1e-6)
    assert shares == pytest.approx([0, 0.5, 1, 1])


@pytest.mark.parametrize("prior", [0.01, 1.0])
def test_the_prior_pulls_noises_to_a_share_of_what_labels_ask_for(prior):
    """At weight 1, as published, to half."""
    best = 0.8 / (1 + prior)
    model, found = terms(CausalDiffAE(channels=8, prior=prior), [best, 0.0], [[0.8]])
    (found["prior"] + found["labels"]).backward()
    assert model.encoder.numbers.grad.abs().max() < 1e-6


def test_the_denoiser_is_told_values_of_the_layer_with_a_little_of_the_encoders_variance(monkeypatch):
    graph = AttributeGraph.of(("a", "b"), [("a", "b")])
    model, told = CausalDiffAE(channels=8, spread=0.004).begun(graph, 16), []
    model.encoder = Given([0.3, 0.1, np.log(4.0).item(), np.log(4.0).item()])
    line = nn.Linear(1, 1, bias=False)
    line.weight.data[:] = 2.0
    model.layer.mechanisms["1"] = line
    monkeypatch.setattr(model, "denoising", lambda pixels, values, source: told.append(values) or values.sum())
    model.losses(torch.zeros(4000, 3, 16, 16), torch.zeros(4000, 2), 1.0, torch.Generator().manual_seed(0))
    assert told[0].mean(0).tolist() == pytest.approx([0.3, 0.7], abs=0.005)
    assert told[0].std(0).tolist() == pytest.approx([np.sqrt(0.004 * 4)] * 2, rel=0.05)


@pytest.fixture
def without_drawing(monkeypatch):
    """The denoiser, which values do not need, is left out."""
    monkeypatch.setattr(CausalCode, "denoising", lambda self, pixels, values, source: 0 * values.sum())
    for name in ("rest", "drawn"):
        monkeypatch.setattr(CausalCode, name, lambda self, pixels, values: pixels)


def test_labels_of_a_quarter_are_learnt_and_others_read_off(without_drawing):
    images, table = attribute_scenes.squares(64)
    values = table.values.copy()
    values[np.arange(64) % 4 > 0] = np.nan
    few = AttributeTable(table.names, values)
    method = CausalDiffAE(updates=250, channels=8, learning_rate=1e-2)
    model = method.learnt(images, few, attribute_scenes.GRAPH)
    labels = few.scaled(table.values)
    missed = (model.read(2 * images.pixels - 1, labels) - labels).abs()[~torch.from_numpy(few.labelled)]
    assert missed.mean(0).max() < 0.1


def test_a_planted_cause_is_learnt_and_followed_with_each_pictures_own_noise(without_drawing):
    images, table = attribute_scenes.squares(48)
    method = CausalDiffAE(updates=250, channels=8, learning_rate=1e-2)
    model = method.learnt(images, table, attribute_scenes.GRAPH)
    labels = table.scaled(table.values)
    assert (model.read(2 * images.pixels - 1, labels) - labels).abs().mean(0).max() < 0.1
    for to in (0.2, 0.8):
        wanted = torch.full((len(labels),), to)
        found = made(model, images.pixels, labels, {0: wanted})
        assert torch.equal(found.after[:, 0], wanted)
        # Sizes are 4 + 6 b + noise, of which the noise stays.
        slope = 60 / table.range[1]
        assert (found.after[:, 1] - (labels[:, 1] + slope * (to - labels[:, 0]))).abs().mean() < 0.1
        set_size = made(model, images.pixels, labels, {1: wanted})
        assert torch.equal(set_size.after[:, 0], set_size.before[:, 0])
