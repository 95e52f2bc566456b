import pytest
import torch
from torch import nn

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.shrink import layer_statistics
from intaglio.shrink.layer_statistics import in_chunks, input_statistics
from intaglio.shrink.layers import WeightLayer, weight_layers
from shrink_scenes import planted_rows


class Counting:
    def advance(self, n=1, **numbers):
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("statistics") / "m"))


def gathered(model, layers, rows, kind="products", batch=4, run=None):
    about = {"batch": batch, "name": "inputs", "run": run or Run.none(), "progress": Counting()}
    return input_statistics(model, layers, rows, kind, **about)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(3, 5),
        nn.Conv2d(3, 5, 3, padding=1),
        nn.Conv2d(3, 5, 3, stride=2, padding=1),
        nn.Conv2d(3, 5, 1),
        nn.Conv2d(3, 5, (1, 3), dilation=2, padding=(0, 2)),
    ],
)
def test_the_matrix_of_a_layer_times_its_inputs_is_what_the_layer_gives(module):
    x = torch.randn(2, 7, 3) if isinstance(module, nn.Linear) else torch.randn(2, 3, 8, 8)
    layer = WeightLayer("denoiser", "layer", module)
    wanted = module(x) if isinstance(module, nn.Linear) else module(x).movedim(1, -1)
    found = layer.inputs(x) @ layer.matrix.T + module.bias
    assert torch.allclose(found, wanted.reshape(found.shape), atol=1e-5)


def test_products_are_the_means_over_all_positions_of_all_rows(model):
    """The inputs of the first convolution are the latents themselves, cut into patches here by hand."""
    rows = planted_rows(12)
    (layer,) = [layer for layer in weight_layers(model) if layer.path == "conv_in"]
    (found,) = gathered(model, [layer], rows)
    padded = torch.nn.functional.pad(rows.latents, (1, 1, 1, 1))
    patches = torch.stack([padded[:, :, y : y + 8, x : x + 8] for y in range(3) for x in range(3)], 2)
    patches = patches.flatten(1, 2).movedim(1, -1).reshape(-1, 36).double()
    assert torch.allclose(found.products[0].double(), patches.T @ patches / len(patches), atol=1e-5)
    assert torch.allclose(found.squares.double(), patches.square().mean(0), atol=1e-5)


def test_a_wide_layer_keeps_the_blocks_on_the_diagonal(model, monkeypatch):
    rows, layers = planted_rows(8), weight_layers(model)
    whole = gathered(model, layers, rows)
    monkeypatch.setattr(layer_statistics, "WIDEST", 40)
    monkeypatch.setattr(layer_statistics, "BLOCK", 16)
    cut = gathered(model, layers, rows)
    assert any(len(one.products) > 1 for one in cut)
    for one, two in zip(whole, cut, strict=True):
        begin = 0
        for block in two.products:
            end = begin + len(block)
            assert torch.allclose(one.products[0][begin:end, begin:end], block, atol=1e-6)
            begin = end


def test_squares_alone_are_the_diagonal(model):
    rows, layers = planted_rows(8), weight_layers(model)
    for one, two in zip(gathered(model, layers, rows), gathered(model, layers, rows, "squares"), strict=True):
        assert two.products == ()
        assert torch.allclose(one.products[0].diagonal(), two.squares, atol=1e-6)


def test_pieces_keep_the_order_and_fit_the_memory_where_a_layer_alone_does(model, monkeypatch):
    layers = weight_layers(model)
    assert [len(piece) for piece in in_chunks(layers, "products")] == [len(layers)]
    monkeypatch.setattr(layer_statistics, "MEMORY", 8.0 * 200**2)
    pieces = in_chunks(layers, "products")
    assert [layer for piece in pieces for layer in piece] == layers
    for piece in pieces:
        assert len(piece) == 1 or sum(8 * layer.columns**2 for layer in piece) <= 8 * 200**2


def test_no_hook_is_left_and_a_pass_goes_on_where_it_was(model, tmp_path):
    rows, layers = planted_rows(12), weight_layers(model)[:4]
    whole = gathered(model, layers, rows)
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}

    class Stopping:
        left = 2

        def advance(self, n=1, **numbers):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    options = {"batch": 4, "name": "inputs"}
    with Run.open(tmp_path, "shrink", "gptq", {}, {}, **about) as run:
        save = run.save_state
        run.save_state = lambda name, tensors, meta, every_s=0: save(name, tensors, meta)
        with pytest.raises(KeyboardInterrupt):
            input_statistics(model, layers, rows, "products", **options, run=run, progress=Stopping())
        assert layer_statistics.stored_batches(run, "inputs") == 2
        again = input_statistics(model, layers, rows, "products", **options, run=run, progress=Counting())
    assert all(torch.equal(one.products[0], two.products[0]) for one, two in zip(whole, again, strict=True))
    assert not any(layer.module._forward_pre_hooks for layer in layers)


def test_the_largest_inputs_are_those_of_largest_norm_in_any_batches(model, monkeypatch):
    monkeypatch.setattr(layer_statistics, "MOST_INPUTS", 7)
    rows = planted_rows(12)
    (layer,) = [layer for layer in weight_layers(model) if layer.path == "conv_in"]
    found = [gathered(model, [layer], rows, "largest", batch=batch)[0].largest for batch in (3, 12)]
    every = layer.inputs(rows.latents)
    order = every.square().sum(1).argsort(descending=True)[:7]
    assert torch.allclose(found[0], every[order], atol=1e-5)
    assert torch.equal(found[0], found[1])
