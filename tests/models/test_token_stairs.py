import itertools

import pytest
import torch

from intaglio.models.diffusion.token_stairs import Stairs, restored


def numbers(tokens=12, heads=3, width=5, seed=0):
    return torch.randn(2, tokens, heads, width, generator=torch.Generator().manual_seed(seed))


def by_hand(x, bits):
    """One token's head at a time, with a scale in half precision."""
    found, half = torch.empty_like(x), 2 ** (bits - 1) - 1
    for place in itertools.product(*map(range, x.shape[:3])):
        row = x[place]
        scale = float((row.abs().max() / half).half())
        found[place] = torch.tensor([max(-half, min(half, round(float(one) / scale))) * scale for one in row.tolist()])
    return found


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_numbers_are_rounded_to_codes_with_a_scale_a_token_and_head(bits):
    x = numbers()
    assert torch.allclose(Stairs((bits,)).rounded(x), by_hand(x, bits), atol=1e-6)


def test_stairs_take_the_tokens_in_their_order():
    x = numbers()
    found = Stairs((16, 8, 4), (1, 3)).rounded(x)
    assert torch.equal(found[:, :1], x[:, :1].half().float())
    assert torch.allclose(found[:, 1:4], by_hand(x[:, 1:4], 8), atol=1e-6)
    assert torch.allclose(found[:, 4:], by_hand(x[:, 4:], 4), atol=1e-6)


def test_whole_numbers_are_given_back_as_they_are_in_other_memory():
    x = numbers()
    found = Stairs((32,)).rounded(x)
    assert torch.equal(found, x)
    assert found.data_ptr() != x.data_ptr()


def test_more_bits_of_any_stair_lose_no_more():
    x, ladder = numbers(40, 4, 16), [2, 3, 4, 6, 8, 16, 32]
    for bits in itertools.product(ladder, repeat=3):
        base = float((Stairs(bits, (1, 8)).rounded(x) - x).norm())
        for place in range(3):
            for more in ladder[ladder.index(bits[place]) + 1 :][:1]:
                finer = (*bits[:place], more, *bits[place + 1 :])
                assert float((Stairs(finer, (1, 8)).rounded(x) - x).norm()) <= base + 1e-6


def test_bytes_are_those_of_codes_and_scales():
    stairs = Stairs((16, 8, 4), (1, 3)).store(numbers(12, 3, 5))
    # Two rows: 30 halves; 90 codes in planes of 12 bytes and 18 scales; 240 codes in planes of 30 and 48 scales.
    assert [one.bytes for one in stairs] == [2 * 15 * 2, 8 * 12 + 2 * 3 * 3 * 2, 4 * 30 + 2 * 8 * 3 * 2]
    odd = Stairs((4,)).store(numbers(1, 1, 5))
    assert odd[0].numbers.shape == (4, 2)
    assert torch.allclose(restored(odd, torch.float32), by_hand(numbers(1, 1, 5), 4), atol=1e-6)


def test_a_prompt_that_is_shorter_than_the_stairs_takes_the_first():
    assert list(Stairs((16, 8, 4), (1, 8)).spans(5)) == [(0, 1, 16), (1, 5, 8)]
    assert Stairs((16, 8, 4), (1, 8)).mean_bits(32) == (16 + 64 + 92) / 32


def test_zeros_and_large_numbers_are_kept():
    assert not bool(Stairs((4,)).rounded(torch.zeros(1, 2, 1, 4)).any())
    assert float(Stairs((16,)).rounded(torch.full((1, 1, 1, 1), 1e9))) == 65504.0


@pytest.mark.parametrize(
    ("bits", "lengths", "told"), [((8,), (1,), "one fewer"), ((1,), (), "2 to 8"), ((8, 4), (0,), "1 or more")]
)
def test_stairs_that_do_not_fit_are_refused(bits, lengths, told):
    with pytest.raises(ValueError, match=told):
        Stairs(bits, lengths)
