import pytest
import torch

from intaglio.models.weights_file import is_finite


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_found_wherever_it_stands(dtype, number):
    weights = torch.linspace(-3, 3, 24).view(4, 6).to(dtype)
    assert is_finite(weights)
    assert is_finite(weights[:0])
    for place in ((0, 0), (2, 3), (3, 5)):
        spoilt = weights.clone()
        spoilt[place] = number
        assert not is_finite(spoilt)


def test_the_largest_numbers_and_whole_ones_are_finite():
    """Their sum is beyond the type, and is not asked for."""
    for dtype in (torch.float16, torch.float32):
        assert is_finite(torch.full((64,), torch.finfo(dtype).max, dtype=dtype))
    assert is_finite(torch.tensor([1, -7]))
    assert is_finite(torch.tensor([1.0, -7.0]).to(torch.float8_e4m3fn))
