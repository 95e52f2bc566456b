"""The embedded similarity encoder: a small convolutional network for copy detection, and its file layout."""

import json
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.files import PACKAGE, atomic_path, open_regular

ARCHITECTURE = "intaglio-encoder-1"
EMBEDDED = PACKAGE / "testbed/encoder/encoder.safetensors"
"""The encoder that ships with the package."""
WIDEST = 4096
"""Largest number of channels, of numbers in a descriptor, and of pixels a side."""


class Encoder(nn.Module):
    """Pictures [n, 3, size, size] in [0, 1] to descriptors [n, dim] of unit length.

    Six 3x3 convolutions at 16, 8 and 4 pixels a side (of 64), pooled by a generalised mean at the two coarsest, then
    one linear layer. After SSCD (arXiv 2202.10261), at a thousandth of its cost. 64 x 64: 16 M multiplications.
    """

    def __init__(self, widths: tuple[int, int, int] = (40, 80, 160), dim: int = 128, size: int = 64):
        super().__init__()
        self.widths, self.dim, self.size = widths, dim, size
        fine, middle, coarse = widths
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), Block(12, fine, stride=2), Block(fine, fine))
        self.middle = nn.Sequential(Block(fine, middle, stride=2), Block(middle, middle))
        self.coarse = nn.Sequential(Block(middle, coarse, stride=2), Block(coarse, coarse))
        self.pool = GeneralisedMean()
        self.head = nn.Linear(middle + coarse, dim)

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        return self.described(*self.maps(pixels))

    def maps(self, pixels: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n a b c"], Float[Tensor, "n p q r"]]:
        """The maps of the two coarsest stages, that of 8 and that of 4 pixels a side of 64."""
        middle = self.middle(self.stem(1 - pixels))  # ink on zero, so that the padding is more of the white page
        return middle, self.coarse(middle)

    def described(self, middle: Float[Tensor, "n a b c"], coarse: Float[Tensor, "n p q r"]) -> Float[Tensor, "n d"]:
        """Descriptors of maps."""
        pooled = torch.cat([self.pool(middle), self.pool(coarse)], dim=1)
        return normalize(self.head(pooled), dim=1)


class Block(nn.Module):
    """Convolution, batch normalisation, ReLU; residual where the shape allows it."""

    def __init__(self, inward: int, outward: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outward)
        self.residual = inward == outward and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.conv(x))
        return torch.relu(x + out if self.residual else out)


class GeneralisedMean(nn.Module):
    """GeM pooling, (mean of x^p)^(1/p) over the plane, p = 3 (arXiv 1711.02512): [n, c, h, w] to [n, c]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_min(1e-4).pow(3).mean((2, 3)).pow(1 / 3)


def stored_state(encoder: Encoder) -> dict[str, Tensor]:
    """The tensors that a file has: weights in half precision, statistics of the normalisation in single."""
    weights = {k: v for k, v in encoder.state_dict().items() if "num_batches" not in k}
    return {k: v.half() if v.dim() > 1 else v.float() for k, v in weights.items()}


def save_encoder(encoder: Encoder, path: Path, card: dict[str, str] | None = None) -> None:
    """Writes the tensors of `stored_state`, and how to build the network."""
    state = stored_state(encoder)
    shape = {"widths": json.dumps(encoder.widths), "dim": str(encoder.dim), "size": str(encoder.size)}
    with atomic_path(path) as temporary:
        tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        save_file(tensors, temporary, {"architecture": ARCHITECTURE, **shape, **(card or {})})


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file. Raises `BadInput` where it is damaged."""
    return _read(path)[0]


def load_encoder(path: Path, device: str | torch.device = "cpu") -> Encoder:
    """Reads what `save_encoder` wrote, in evaluation mode and without gradients of its weights.

    Raises `BadInput` where the file is damaged or of another layout.
    """
    about, tensors = _read(path, with_tensors=True)
    if about.get("architecture") != ARCHITECTURE:
        raise BadInput(
            f"{path} does not say in its metadata that it is a {ARCHITECTURE}, so its network is unknown; "
            "give a TorchScript file, or a transformers folder with config.json beside model.safetensors"
        )
    try:
        fine, middle, coarse = map(int, parse_json(about["widths"], str(path)))
        if not all(1 <= width <= WIDEST for width in (fine, middle, coarse, int(about["dim"]), int(about["size"]))):
            raise ValueError("sizes beyond reason")
        # The first weights are random, and nobody's random state is to be moved by loading.
        with torch.random.fork_rng(devices=[]):
            encoder = Encoder((fine, middle, coarse), int(about["dim"]), int(about["size"]))
        missing, unexpected = encoder.load_state_dict(tensors, strict=False)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"{path} is damaged: its tensors do not fit its metadata; export it again") from error
    wrong = [key for key in missing if "num_batches" not in key] + unexpected
    if wrong:
        raise BadInput(f"{path} is damaged: its tensors do not fit its metadata ({wrong[0]}); export it again")
    return encoder.eval().requires_grad_(False).to(device)


def _read(path: Path, *, with_tensors: bool = False) -> tuple[dict[str, str], dict[str, Tensor]]:
    open_regular(path).close()
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key).float() for key in file.keys()} if with_tensors else {}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} cannot be read as safetensors ({error}); download or export it again") from error
