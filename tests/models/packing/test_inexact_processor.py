"""A processor without exact products of codes: models of rounded inputs are refused there, in a sentence."""

import pytest
from torch import nn

from intaglio.errors import BadInput
from intaglio.models.packing import int8_kernels


def test_without_exact_products_nothing_computes_with_codes(monkeypatch):
    monkeypatch.setattr(int8_kernels, "_exact", lambda: False)
    with pytest.raises(BadInput, match="no exact products of 8-bit integers; use bfloat16 or float32"):
        int8_kernels.use_int8(nn.Sequential(nn.Linear(4, 2)), {})
