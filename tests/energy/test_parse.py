"""Parsing of models into layers, against networks whose layers are known, and against torch's own count."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from intaglio.energy.layers.parse import parse, parse_by_module, seen
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path

PRODUCTS = ("linear", "convolution", "matmul", "attention", "lstm")


def products(step):
    return {layer: calls for layer, calls in step.layers.items() if layer.family.kind in PRODUCTS}


def flops(step):
    """Those of products; torch's counter knows no attention on a processor."""
    known = [layer for layer in products(step) if layer.family.kind != "attention"]
    return sum(step.layers[layer] * layer.flops for layer in known)


def counted(call):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops()


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5, stride=2)
        self.last = nn.Linear(16 * 5 * 5, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.first(x)), 2)
        return self.last(torch.relu(self.second(x)).flatten(1))


def test_calls_sizes_and_attributes():
    step = parse(LeNet(), torch.zeros(4, 3, 30, 30))
    found = {(layer.family.kind, *layer.sizes): calls for layer, calls in products(step).items()}
    assert found == {
        ("convolution", 3, 6, 4 * 26 * 26): 1,
        ("convolution", 6, 16, 4 * 5 * 5): 1,
        ("linear", 400, 10, 4): 1,
    }
    strides = {dict(layer.family.attributes)["stride"] for layer in products(step) if layer.family.kind != "linear"}
    assert strides == {1, 2}
    elementwise = [layer for layer in step.layers if layer.family.kind == "elementwise"]
    assert {dict(layer.family.attributes)["operation"] for layer in elementwise} == {"arithmetic", "reduction"}
    assert not step.unparsed


def test_roles_follow_what_wants_a_gradient():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 7), nn.Linear(7, 8))
    for k, trained in enumerate((False, True, False, True)):
        model[k].requires_grad_(trained)
    roles = {
        layer.sizes[0]: (layer.family.train, layer.family.input_grad, layer.family.weight_grad)
        for layer in parse(model, torch.zeros(2, 4), train=True).layers
    }
    assert roles == {4: (False, False, False), 5: (True, False, True), 6: (True, True, False), 7: (True, True, True)}
    assert not any(layer.family.train for layer in parse(model, torch.zeros(2, 4)).layers)


def test_a_shared_layer_counts_its_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(torch.relu(self.layer(x)))

    assert list(products(parse(Twice(), torch.zeros(2, 4))).values()) == [2]


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0), (torch.zeros(5, 2, 16),)),
        (nn.Sequential(nn.Conv1d(3, 8, 3), nn.ConvTranspose1d(8, 4, 2)), (torch.zeros(2, 3, 9),)),
        (nn.ConvTranspose2d(3, 8, 4, 2, 1), (torch.zeros(2, 3, 8, 8),)),
        (nn.Sequential(nn.Conv3d(2, 4, 3), nn.Conv3d(4, 4, 3, groups=2)), (torch.zeros(1, 2, 6, 6, 6),)),
        (nn.Conv2d(6, 6, 3, groups=6), (torch.zeros(2, 6, 8, 8),)),
        (nn.Bilinear(3, 4, 5), (torch.zeros(2, 3), torch.zeros(2, 4))),
    ],
)
def test_operations_are_those_that_torch_counts(model, inputs):
    model.train()  # without the fast path of transformers
    expected = counted(lambda: model(*inputs))
    assert flops(parse(model, *inputs)) == pytest.approx(expected, rel=0.02 if expected else 0)


def test_an_lstm_is_one_layer():
    step = parse(nn.LSTM(5, 7, 2, batch_first=True, bidirectional=True), torch.zeros(3, 11, 5))
    (layer,) = products(step)
    assert layer.all_sizes == {"c_in": 5, "hidden": 7, "steps": 11, "batch": 3}
    assert dict(layer.family.attributes) == {"layers": 2, "bidirectional": True}


def test_views_cost_nothing_and_copies_do():
    x = torch.zeros(4, 6)
    assert not seen(lambda: x.view(3, 8)[1:].t().unsqueeze(0)).layers
    (layer,) = seen(lambda: x.t().contiguous()).layers
    assert (dict(layer.family.attributes)["operation"], layer.sizes) == ("copy", (24,))
    (layer,) = seen(lambda: torch.relu_(x)).layers
    assert layer.sizes == (24,)
    strange = seen(lambda: torch.fft.fft(x))
    assert strange.unparsed == {"fft_fft": 2.0 * 24}


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = copy.deepcopy(model.state_dict())
    parse(model, torch.randn(2, 3, 8, 8), train=True)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return self.layer(x) if x.sum() > 0 else self.layer(self.layer(x))


def test_a_model_that_decides_on_values_is_run_once_and_says_so():
    model = Deciding()
    step = parse(model, torch.ones(2, 4))
    assert list(products(step).values()) == [1]
    assert "was run once on its own values" in step.notes[0]
    assert list(products(parse(model, -torch.ones(2, 4))).values()) == [2]
    assert model.seen == 0


def test_a_forward_that_fails_is_told_in_its_own_words():
    with pytest.raises(BadInput, match=r"forward pass of Linear fails: .*shapes cannot be multiplied"):
        parse(nn.Linear(3, 4), torch.zeros(2, 5))


def test_autocast_is_a_precision_of_products():
    model = nn.Linear(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        (layer,) = products(parse(model, torch.zeros(2, 4)))
    assert layer.family.dtype == "bfloat16"


def test_the_testbed_s_networks_are_covered():
    model = load_model(base_path())
    side = model.resolution // model.factor
    latents = torch.zeros(2, model.latent_channels, side, side)
    context = torch.zeros(2, 8, model.denoiser.config.cross_attention_dim)
    call = (latents, torch.zeros(2, dtype=torch.long), context)
    step = parse(model.denoiser, *call)
    assert flops(step) == pytest.approx(counted(lambda: model.denoiser(*call)), rel=1e-3)
    kinds = {layer.family.kind for layer in step.layers}
    assert kinds == {"attention", "convolution", "elementwise", "linear", "norm"}
    text = parse(model.text_encoders[0], torch.zeros(2, 8, dtype=torch.long))
    assert {layer.family.kind for layer in text.layers} >= {"embedding", "attention", "norm"}
    decoder = parse(model.autoencoder.decoder, latents)
    for found in (step, decoder):
        assert not found.unparsed
        assert not found.notes, "parsed without memory"


def test_layers_are_told_by_the_module_they_were_called_in():
    model = load_model(base_path()).denoiser
    inputs = (torch.zeros(2, 4, 8, 8), torch.zeros(2, dtype=torch.long))
    named = {"encoder_hidden_states": torch.zeros(2, 5, model.config.cross_attention_dim)}
    scopes = [
        name for name, module in model.named_modules() if type(module).__name__ in ("ResnetBlock2D", "FeedForward")
    ]
    scopes.append(f"{scopes[0]}.conv1")
    parts, whole = parse_by_module(model, scopes, *inputs, named=named), parse(model, *inputs, named=named)
    assert set(parts) == {"", *scopes}
    total = dict.fromkeys(whole.layers, 0)
    for layer, calls in ((layer, calls) for part in parts.values() for layer, calls in part.layers.items()):
        total[layer] += calls
    assert total == whole.layers
    (conv,) = parts[scopes[-1]].layers  # the inner of two, and nothing else
    assert conv.all_sizes["c_out"] == model.get_submodule(scopes[-1]).out_channels
    outer = products(parts[scopes[0]])
    assert sorted(layer.family.kind for layer in outer) == ["convolution"] * (len(outer) - 1) + ["linear"]
    assert not model.get_submodule(scopes[0])._forward_hooks


def test_a_module_that_needs_values_is_told_apart_too():
    class Deciding(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.first(x)
            return self.second(x) if float(x.sum().detach()) < 1e9 else x

    parts = parse_by_module(Deciding(), ["second"], torch.zeros(1, 4))
    assert {layer.sizes for layer in products(parts["second"])} == {(4, 2, 1)}
    assert {layer.sizes for layer in products(parts[""])} == {(4, 4, 1)}
    assert "its own values" in parts[""].notes[0]
