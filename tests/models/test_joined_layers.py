"""Low-rank changes of joined modules against dense matrices."""

import torch

from intaglio.models.lora.adapter_layers import Layer
from intaglio.models.lora.joined_layers import joined

SHAPES = (((1, 6), (3, 6)), ((4, 1), (5, 3)))
"""Of the downs, and of the ups, of two members."""


def test_members_of_two_strengths_add_up_to_the_dense_change():
    """Strengths 1 and 2, a member between them that is not changed, and rows of three numbers."""
    generator, rows = torch.Generator().manual_seed(0), (3, 4, 5)
    made = {
        place: (torch.randn(2, 6, generator=generator), torch.randn(rows[place], 2, generator=generator))
        for place in (0, 2)
    }
    layers = [Layer(*made[0], 2.0), None, Layer(*made[2], 4.0)]
    whole = joined(layers, rows)
    dense = torch.cat([made[0][1] @ made[0][0], torch.zeros(4, 6), 2 * made[2][1] @ made[2][0]])
    assert torch.allclose(whole.alpha / whole.rank * whole.up @ whole.down, dense, atol=1e-6)


def test_members_of_two_ranks_and_one_strength_keep_it():
    """Ranks 1 and 3, each with an alpha of half its rank."""
    generator = torch.Generator().manual_seed(0)
    downs, ups = ([torch.randn(*shape, generator=generator) for shape in shapes] for shapes in SHAPES)
    layers = [Layer(down, up, len(down) / 2) for down, up in zip(downs, ups, strict=True)]
    whole = joined(layers, (4, 5))
    dense = torch.cat([0.5 * up @ down for down, up in zip(downs, ups, strict=True)])
    assert (whole.rank, whole.alpha) == (4, 2.0)
    assert torch.allclose(whole.alpha / whole.rank * whole.up @ whole.down, dense, atol=1e-6)
