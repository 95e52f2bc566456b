"""The extractor of bits: its layers and its whitening by hand, its file, and files that are none."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import BatchNorm2d
from torch.nn.functional import batch_norm, conv2d

from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.bit_extractors import load_bit_extractor, new_bit_extractor, save_bit_extractor, whiten, whitening

WIDTHS = (4, 6, 5)


def pictures(count, height=20, width=16, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def extractor():
    found = new_bit_extractor(3, 1, WIDTHS)
    with torch.no_grad():
        for module in found.modules():
            if isinstance(module, BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(1))
                module.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    return found.eval()


def test_the_logits_are_those_of_the_layers_by_hand(extractor):
    state, maps = extractor.state_dict(), 1 - pictures(2)
    for place, stride in enumerate((2, 1, 2)):
        norm = f"layers.{place}.1"
        maps = conv2d(maps, state[f"layers.{place}.0.weight"], stride=stride, padding=1)
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        maps = batch_norm(maps, mean, var, state[f"{norm}.weight"], state[f"{norm}.bias"]).relu()
    by_hand = maps.mean((2, 3)) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(extractor(pictures(2)), by_hand, rtol=0, atol=1e-5)


def test_whitened_logits_have_mean_0_and_the_covariance_of_the_identity_and_not_of_a_sum(extractor):
    """numpy's covariance with a divisor of n; a sum in its place would leave variances of 1/200."""
    given = pictures(200)
    whiten(extractor, given)
    logits = extractor(given).double().detach().numpy()
    np.testing.assert_allclose(logits.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(logits.T, bias=True), np.eye(3), atol=5e-3)


def test_whitening_is_the_inverse_root_of_a_known_covariance():
    root = torch.tensor([[2.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    corners = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1.0]], dtype=torch.float64)  # mean 0, covariance I
    linear, shift = whitening(corners @ root.T + torch.tensor([5.0, -7.0]))
    torch.testing.assert_close(linear @ root @ root.T @ linear, torch.eye(2).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(linear, linear.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(shift, -linear @ torch.tensor([5.0, -7.0]).double(), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="3 pictures are too few to whiten 2 logits by; give 4"):
        whitening(corners[:3])


def test_it_is_saved_in_half_precision_and_read_again(extractor, tmp_path):
    path = tmp_path / "e.safetensors"
    save_bit_extractor(extractor, path, {"steps": "7"})
    read = load_bit_extractor(path)
    assert (read.bits, read.widths, read.training) == (3, WIDTHS, False)
    assert not any(weight.requires_grad for weight in read.parameters())
    for key, value in extractor.state_dict().items():
        assert torch.equal(read.state_dict()[key], value.half().float() if value.dim() > 1 else value), key


@pytest.mark.parametrize("changes", [{"bits": "4"}, {"widths": "[4]"}, {"widths": "[1e9]"}, {"architecture": "other"}])
def test_a_file_that_is_no_extractor_is_refused(changes, extractor, tmp_path):
    path = tmp_path / "e.safetensors"
    save_bit_extractor(extractor, path)
    about = {"architecture": "intaglio-bit-extractor-1", "bits": "3", "widths": "[4, 6, 5]", **changes}
    save_file(load_file(path), path, about)
    with pytest.raises(BadInput, match=r"damaged|does not say"):
        load_bit_extractor(path)


def test_the_embedded_one_reads_32_bits_and_is_whitened():
    """On pictures of the training; the file's half precision moves the covariance a little."""
    embedded = testbed.extractor()
    assert embedded.bits == 32
    assert 0.25e6 < sum(weight.numel() for weight in embedded.parameters()) < 0.35e6
    assert testbed.extractor_path().stat().st_size < 0.8e6
    with torch.no_grad():
        logits = embedded(testbed.real_pictures().pixels[:48])
    assert 0.6 < float(logits.std()) < 1.5
    assert float(logits.mean().abs()) < 0.3
