"""A small convolutional reader of bits from pictures, its whitening, and the file that holds one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.files import atomic_path
from intaglio.models.weights_file import checked, read_weights
from intaglio.randomness import generator

ARCHITECTURE = "intaglio-bit-extractor-1"
"""The mark of the file's metadata."""
WIDTHS = (64, 64, 96, 96, 128)
"""Channels of the layers, where none are said."""
WIDEST, DEEPEST, MOST_BITS = 4096, 32, 4096
"""Largest numbers of channels, layers and bits that a file may ask for."""
LEAST_VARIANCE = 1e-6
"""Floor of the variances that logits are divided by, as a share of the largest."""


class BitExtractor(nn.Module):
    """Pictures [n, 3, h, w] in [0, 1] to logits [n, m], one a bit; the bit is 1 where the logit is above 0.

    A 4x4 convolution of stride 2, then 3x3 convolutions, the third layer's with stride 2; each with batch normalisation
    and ReLU. Then the mean over the plane, and a linear layer. Any side of 16 pixels or more works. With the defaults
    and 32 bits 0.29 M parameters, and 105 M multiplications for 64 x 64.
    """

    def __init__(self, bits: int, widths: Sequence[int] = WIDTHS):
        """A network whose weights torch fills from its global state; `new_bit_extractor` draws them from a seed.

        Args:
            bits: number m of the logits.
            widths: channels of each layer, two or more.
        """
        super().__init__()
        self.bits, self.widths = bits, tuple(widths)
        layers, inward = [], 3
        for place, width in enumerate(widths):
            layers.append(_layer(inward, width, 4 if place == 0 else 3, 2 if place in (0, 2) else 1))
            inward = width
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(inward, bits)

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n m"]:
        """Logits of the bits."""
        features = self.pool(self.layers(1 - pixels)).flatten(1)  # ink on zero, as the padding is more white page
        return self.head(features)


def _layer(inward: int, outward: int, side: int, stride: int) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    conv = nn.Conv2d(inward, outward, side, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward), nn.ReLU())


def new_bit_extractor(bits: int, seed: int, widths: Sequence[int] = WIDTHS) -> BitExtractor:
    """An untrained extractor with weights that follow from the seed: uniform after He et al. (arXiv 1502.01852)."""
    with torch.device("meta"):
        extractor = BitExtractor(bits, widths)
    extractor.to_empty(device="cpu")
    source = generator(seed, "bit extractor")
    for module in extractor.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=source)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return extractor


def whitening(logits: Float[Tensor, "n m"]) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m"]]:
    """The symmetric map A and shift b for which A l + b has mean 0 and covariance I over the n logits, float64.

    With mu their mean and C = sum_i (l_i - mu)(l_i - mu)^T / n their covariance, A = C^(-1/2) and b = -A mu. A sum in
    place of the mean would leave logits of standard deviation 1/sqrt(n). Raises `ValueError` for fewer logits than 2 m,
    of which a covariance says little.
    """
    count, bits = logits.shape
    if count < 2 * bits:
        raise ValueError(f"{count} pictures are too few to whiten {bits} logits by; give {2 * bits} or more")
    mean = logits.double().mean(0)
    centred = logits.double() - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / count)
    scale = values.clamp_min(LEAST_VARIANCE * float(values[-1])).rsqrt()
    whitened = vectors @ torch.diag(scale) @ vectors.T
    return whitened, -whitened @ mean


@torch.no_grad()
def whiten(extractor: BitExtractor, pixels: Float[Tensor, "n 3 h w"], batch: int = 256) -> None:
    """Changes the last layer so that logits of these pictures have mean 0 and covariance I, in evaluation mode."""
    extractor.eval()
    linear, shift = whitening(torch.cat([extractor(some) for some in pixels.split(batch)]))
    weight, bias = extractor.head.weight.double(), extractor.head.bias.double()
    extractor.head.weight.copy_((linear @ weight).to(extractor.head.weight))
    extractor.head.bias.copy_((linear @ bias + shift).to(extractor.head.bias))


def save_bit_extractor(extractor: BitExtractor, path: Path, card: Mapping[str, str] | None = None) -> None:
    """Writes weights in half precision, other numbers in single, and the network's shape, atomically.

    Args:
        extractor: left as it is.
        path: of a `.safetensors` file.
        card: further words for the metadata, such as steps and licence.
    """
    tensors = {}
    for name, value in extractor.state_dict().items():
        if "num_batches" not in name:
            weight = value.detach().cpu().float()
            tensors[name] = (weight.half() if weight.dim() > 1 else weight).contiguous()
    shape = {"bits": str(extractor.bits), "widths": json.dumps(extractor.widths)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {**(card or {}), "architecture": ARCHITECTURE, **shape})


def load_bit_extractor(path: Path, device: str | torch.device = "cpu") -> BitExtractor:
    """Reads what `save_bit_extractor` wrote, in evaluation mode and without gradients of its weights.

    Raises `BadInput` for a file that is missing, pickled, damaged, of another layout, or with NaN or infinity.
    """
    tensors, about = read_weights(path, "bit extractor")
    if about.get("architecture") != ARCHITECTURE:
        raise BadInput(
            f"{path} does not say in its metadata that it is a {ARCHITECTURE}, so its network is unknown; give a file "
            "that Intaglio wrote as a bit extractor"
        )
    damaged = f"{path} is damaged: its tensors do not fit its metadata"
    try:
        bits, widths = (parse_json(about[key], str(path)) for key in ("bits", "widths"))
        (count,) = _sizes([bits], MOST_BITS)
        with torch.device("meta"):  # memory is taken by the file's tensors alone
            extractor = BitExtractor(count, _sizes(widths, WIDEST))
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"{damaged}; export it again") from error
    wanted = {k: v for k, v in extractor.state_dict().items() if "num_batches" not in k}
    wrong = sorted({*wanted} ^ {*tensors}) or [k for k, v in wanted.items() if tensors[k].shape != v.shape]
    if wrong:
        raise BadInput(f"{damaged} ({wrong[0]}); export it again")
    state = {k: checked(v, path, k).float() for k, v in tensors.items()}
    counters = {k: torch.zeros((), dtype=torch.long) for k in extractor.state_dict() if "num_batches" in k}
    extractor.load_state_dict({**state, **counters}, assign=True)
    return extractor.eval().requires_grad_(False).to(device)


def _sizes(stored: object, largest: int) -> list[int]:
    """Whole numbers from 1. Raises `ValueError` for others."""
    if not isinstance(stored, list) or not 1 <= len(stored) <= DEEPEST:
        raise ValueError("no sizes")
    if not all(type(one) is int and 1 <= one <= largest for one in stored):
        raise ValueError("sizes beyond reason")
    return stored
