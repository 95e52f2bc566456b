"""Tokens and their places: by hand, and in networks of transformers."""

from types import SimpleNamespace

import pytest
import torch
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from explain_scenes import untrained
from intaglio.errors import BadInput
from intaglio.explain.methods.grad_cam import GradCAM
from intaglio.explain.methods.layer_cam import LayerCAM
from intaglio.metrics.similarity.local_networks import Preprocessing
from intaglio.models.image_classification import ScoredTransformer
from intaglio.models.token_places import TokenGrid, token_grid

LABELS = {0: "cat", 1: "dog", 2: "bird"}


def scored(kind, config, side):
    torch.manual_seed(0)
    return ScoredTransformer(kind(config).eval(), "label", ("cat", "dog", "bird"), side, "logit", Preprocessing())


def vit():
    few = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return scored(ViTForImageClassification, ViTConfig(image_size=32, patch_size=8, id2label=LABELS, **few), 32)


def test_tokens_are_laid_out_row_by_row_after_those_of_no_place():
    tokens = torch.arange(7.0)[None, :, None] * torch.tensor([1.0, 10.0])
    maps = TokenGrid(2, 3, 1).maps(tokens)
    assert maps[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert maps[0, 1].tolist() == [[10, 20, 30], [40, 50, 60]]


@pytest.mark.parametrize(
    ("count", "sizes", "expected"),
    [
        (197, [(14, 14)], TokenGrid(14, 14, 1)),
        (201, [(14, 14)], TokenGrid(14, 14, 5)),
        (25, [(6, 4)], TokenGrid(6, 4, 1)),
        (49, [(14, 14)], TokenGrid(7, 7, 0)),
        (205, [(14, 14)], None),
        (24, [(6, 6)], None),
        (1, [(1, 1)], None),
    ],
)
def test_the_grid_of_tokens_is_that_of_a_layer_of_maps_or_a_square(count, sizes, expected):
    assert token_grid(count, sizes) == expected


def test_a_vits_map_is_of_the_tokens_that_its_last_attention_reads():
    net, pixels = vit(), torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = {method: method.attributed(net, pixels, 1, "a").map for method in (GradCAM(), LayerCAM())}
    inner = net.network.vit
    first, last = inner.layers
    tokens = first(inner.embeddings(pixels[None]))
    normal = last.layernorm_before(tokens).detach().requires_grad_()
    after = last.attention(normal)[0] + tokens.detach()
    after = after + last.mlp(last.layernorm_after(after))
    (slope,) = torch.autograd.grad(net.network.classifier(inner.layernorm(after)[:, 0])[0, 1], normal)
    slope, value = (one.detach()[0, 1:].reshape(4, 4, 16) for one in (slope, normal))
    for method, weights in ((GradCAM(), slope.mean((0, 1))), (LayerCAM(), slope.clamp(min=0))):
        raw = (weights * value).sum(2).clamp(min=0)
        whole = torch.nn.functional.interpolate(raw[None, None], (32, 32), mode="bilinear")[0, 0]
        torch.testing.assert_close(found[method], whole)
        assert float(whole.max()) > 0


def test_a_swins_map_is_of_its_last_tokens_and_any_layer_of_tokens_can_be_named():
    few = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2}
    net = scored(SwinForImageClassification, SwinConfig(image_size=32, patch_size=4, id2label=LABELS, **few), 32)
    assert net.last_seen_layer == "swin.layernorm"
    assert net.token_layers["swin.layernorm"] == TokenGrid(4, 4, 0)
    pixels = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    named = GradCAM(layer="swin.layernorm")
    named.check(net)
    assert named.attributed(net, pixels, 1, "a").map.equal(GradCAM().attributed(net, pixels, 1, "a").map)
    with pytest.raises(BadInput, match="no layer 'swin.pooler' with maps"):
        GradCAM(layer="swin.pooler").check(net)


def test_channels_that_come_last_are_no_maps():
    few = {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}
    net = scored(ConvNextForImageClassification, ConvNextConfig(id2label=LABELS, **few), 64)
    assert not [name for name in net.layers if "pwconv" in name]
    assert len(net.stage_ends) == 2
    assert net.stage_ends[1] == "convnext.encoder.stages.1"
    assert net.last_seen_layer == net.layers[-1]


class MapsAfterTokens(torch.nn.Module):
    """Maps, their tokens normalised, and maps of these."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = torch.nn.Conv2d(3, 4, 4, stride=4), torch.nn.LayerNorm(4)
        self.mixed, self.head = torch.nn.Conv2d(4, 6, 1), torch.nn.Linear(6, 3)

    def forward(self, pixel_values):
        maps = self.patches(pixel_values)
        tokens = self.norm(maps.flatten(2).transpose(1, 2))
        found = self.mixed(tokens.transpose(1, 2).unflatten(2, maps.shape[2:]))
        return SimpleNamespace(logits=self.head(found.mean((2, 3))))


def test_maps_after_all_tokens_are_taken():
    net = ScoredTransformer(MapsAfterTokens().eval(), "label", ("cat", "dog", "bird"), 16, "logit", Preprocessing())
    assert net.token_layers == {"norm": TokenGrid(4, 4, 0)}
    assert net.last_seen_layer == "mixed"


def test_the_last_layer_of_maps_is_taken_where_no_tokens_follow():
    assert untrained().last_seen_layer == untrained().layers[-1]
    assert untrained().token_layers == {}
