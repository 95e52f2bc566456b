import pytest
import torch

from audit_scenes import model
from intaglio.learning.per_sample import clipped, per_sample_gradients, tensor_norms


def joined(parts):
    parts = list(parts)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_rows_of_a_unet_are_the_gradients_of_a_loop(at_once):
    net = model()
    given = torch.Generator().manual_seed(0)
    latents = torch.randn(3, net.latent_channels, 8, 8, generator=given)
    noise, t = torch.randn(2, net.latent_channels, 8, 8, generator=given), torch.tensor([100, 700])
    text = net.embed(["red cat", "dog", "cat"]).detach()
    weights = dict(net.denoiser.named_parameters())

    def value(z, words):
        both = type(text)(words[None].expand(2, -1, -1))
        return net.error(z.expand(2, -1, -1, -1), noise, t, both).mean()

    chosen = [name for name in weights if "attn" in name] + ["conv_in.weight"]
    found = joined(per_sample_gradients(net.denoiser, chosen, value, (latents, text.hidden), at_once=at_once))
    assert list(found) == chosen
    for row in range(3):
        for weight in weights.values():
            weight.grad = None
        net.error(latents[[row, row]], noise, t, text[[row, row]]).mean().backward()
        for name in chosen:
            torch.testing.assert_close(found[name][row], weights[name].grad, rtol=1e-3, atol=1e-6)


def test_rows_of_a_line_are_the_products_of_error_and_input_and_the_network_is_left_as_found():
    line = torch.nn.Linear(3, 1)
    before = {name: (value, value._version, value.requires_grad) for name, value in line.named_parameters()}
    x, y = torch.randn(5, 3), torch.randn(5)
    parts = list(per_sample_gradients(line, ["weight"], lambda a, b: (line(a)[0] - b).square() / 2, (x, y), at_once=2))
    assert [len(part["weight"]) for part in parts] == [2, 2, 1]
    expected = (x @ line.weight[0] + line.bias - y)[:, None] * x
    torch.testing.assert_close(joined(parts)["weight"][:, 0], expected.detach())
    for name, value in line.named_parameters():
        assert (value, value._version, value.requires_grad) == before[name]
        assert value.grad is None

    def breaks(a, b):
        raise ArithmeticError("in the middle")

    for at_once in (1, 2):
        with pytest.raises(ArithmeticError):
            list(per_sample_gradients(line, ["weight"], breaks, (x, y), at_once=at_once))
        assert dict(line.named_parameters())["weight"] is before["weight"][0]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_weight_that_nothing_reads_has_zeros(at_once):
    pair = torch.nn.ModuleDict({"read": torch.nn.Linear(2, 1), "unread": torch.nn.Linear(2, 1)})
    names = ["unread.weight", "read.weight"]
    found = joined(
        per_sample_gradients(pair, names, lambda a: pair["read"](a)[0], (torch.ones(2, 2),), at_once=at_once)
    )
    assert not found["unread.weight"].any()
    assert found["read.weight"].tolist() == [[[1.0, 1.0]]] * 2


def test_norms_are_by_tensor_and_clipping_by_the_whole_row():
    rows = {"a": torch.tensor([[[3.0, 0]], [[0, 0]]]), "b": torch.tensor([[4.0], [1.0]])}
    assert tensor_norms(rows).tolist() == [[3, 4], [0, 1]]
    found = clipped(rows, 2.5)
    assert found["a"].tolist() == [[[1.5, 0]], [[0, 0]]]
    assert found["b"].tolist() == [[2.0], [1.0]]


def test_a_frozen_network_is_asked_inside_no_grad():
    line = torch.nn.Linear(2, 1).requires_grad_(False)
    with torch.no_grad():
        (found,) = per_sample_gradients(line, ["bias"], lambda a: line(a)[0], (torch.ones(1, 2),))
    assert found["bias"].tolist() == [[1.0]]
    assert not line.bias.requires_grad
