"""A small convolutional network from changed pictures to what they were before, and the file that holds one."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.files import atomic_path
from intaglio.models.eight_bits import with_scales, without_scales
from intaglio.models.weights_file import checked, read_weights
from intaglio.randomness import generator

ARCHITECTURE = "intaglio-picture-restorer-1"
"""The mark of the file's metadata."""
WIDTH, BLOCKS = 48, 6
"""Channels and residual blocks, where none are said."""
WIDEST, DEEPEST = 4096, 256
"""Largest numbers of channels and blocks that a file may ask for."""
COARSE = 4
"""Grey levels of 255 that are one to the network: of eight bits, the two lowest are dropped."""
HALF = 2
"""Pixels along a side of a cell of the grid that the network works on."""


class PictureRestorer(nn.Module):
    """Pictures [n, 3, h, w] in [0, 1] to pictures of the same size: coarse levels, and what the network adds to them.

    The picture is first rounded down to every fourth of its 256 levels, c, so that nothing after it can depend on the
    two lowest bits. Cells of 2 x 2 pixels become 12 channels of half the sides, a 3x3 convolution gives `width`
    channels, `blocks` residual blocks of two 3x3 convolutions follow, and one more gives 12 channels, which are pixels
    again: the output is c + 3/2 + f(c), clipped. Rounding has no slope: no gradient reaches the input. A side of an odd
    number of pixels is mirrored by one. With the defaults 0.26 M parameters, and 265 M multiplications for 64 x 64.
    """

    def __init__(self, width: int = WIDTH, blocks: int = BLOCKS):
        """A network whose weights torch fills from its global state; `new_picture_restorer` draws them from a seed.

        Args:
            width: channels of the residual blocks.
            blocks: number of them.
        """
        super().__init__()
        self.width, self.blocks = width, blocks
        cells = 3 * HALF**2
        self.first = nn.Conv2d(cells, width, 3, padding=1)
        self.body = nn.ModuleList(_ResidualBlock(width) for _ in range(blocks))
        self.last = nn.Conv2d(width, cells, 3, padding=1)

    @property
    def reach(self) -> int:
        """Pixels to each side, rounded up, that an output pixel depends on."""
        return HALF * (2 * self.blocks + 2) + HALF - 1

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """Restored pictures in [0, 1]."""
        height, width = pixels.shape[-2:]
        odd = (0, width % HALF, 0, height % HALF)
        whole = pad(pixels, odd, mode="reflect" if min(height, width) > 1 else "replicate") if any(odd) else pixels
        coarse = coarsened(whole)
        features = self.first(pixel_unshuffle(1 - coarse, HALF))  # ink on zero, as the padding is more of the page
        for block in self.body:
            features = block(features)
        found = coarse + pixel_shuffle(self.last(features), HALF)
        return found.clamp(0, 1)[..., :height, :width]


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with ReLU between them, added to their input."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return features + self.outer(self.inner(features).relu())


def coarsened(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Pixels in [0, 1] whose 8-bit levels are each the middle of the four that share their upper six bits."""
    levels = (pixels * 255).round()
    return ((levels / COARSE).floor() * COARSE + (COARSE - 1) / 2) / 255


def restored(network: PictureRestorer, pixels: Float[Tensor, "n 3 h w"], piece: int) -> Float[Tensor, "n 3 h w"]:
    """Pictures of any size through the network, in squares of `piece` pixels with all around that they depend on.

    An odd `piece` is one less, from 2. Computed without gradients.
    """
    step, margin = max(HALF, piece // HALF * HALF), -(-network.reach // HALF) * HALF
    height, width = pixels.shape[-2:]
    found = torch.empty_like(pixels)
    with torch.no_grad():
        for top in range(0, height, step):
            for left in range(0, width, step):
                above, before = max(0, top - margin), max(0, left - margin)
                given = pixels[..., above : top + step + margin, before : left + step + margin]
                part = network(given)[..., top - above :, left - before :][..., :step, :step]
                found[..., top : top + step, left : left + step] = part
    return found


def new_picture_restorer(seed: int, width: int = WIDTH, blocks: int = BLOCKS) -> PictureRestorer:
    """An untrained network with weights that follow from the seed: normal after He et al. (arXiv 1502.01852).

    The last convolution of each block has a tenth of that size, and the very last one is zero: at first pictures are
    only coarsened.
    """
    with torch.device("meta"):
        network = PictureRestorer(width, blocks)
    network.to_empty(device="cpu")
    source = generator(seed, "picture restorer")
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=source)
            nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
            with torch.no_grad():
                module.weight.mul_(0.1 if name.endswith("outer") else 1.0)
    nn.init.zeros_(network.last.weight)
    return network


def save_picture_restorer(network: PictureRestorer, path: Path, card: Mapping[str, str] | None = None) -> None:
    """Writes convolutions in eight bits, each map with a scale, biases in single precision, and the shape, atomically.

    Args:
        network: left as it is.
        path: of a `.safetensors` file.
        card: further words for the metadata, such as steps and licence.
    """
    tensors = {}
    for name, value in network.state_dict().items():
        weight = value.detach().cpu().float().contiguous()
        tensors |= with_scales(name, weight) if weight.dim() == 4 else {name: weight}
    shape = {"width": json.dumps(network.width), "blocks": json.dumps(network.blocks)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {**(card or {}), "architecture": ARCHITECTURE, **shape})


def load_picture_restorer(path: Path, device: str | torch.device = "cpu") -> PictureRestorer:
    """Reads what `save_picture_restorer` wrote, in evaluation mode and without gradients of its weights.

    Raises `BadInput` for a file that is missing, pickled, damaged, of another layout, or with NaN or infinity.
    """
    read, about = read_weights(path, "picture restorer")
    if about.get("architecture") != ARCHITECTURE:
        raise BadInput(
            f"{path} does not say in its metadata that it is a {ARCHITECTURE}, so its network is unknown; give a file "
            "that Intaglio wrote as a picture restorer"
        )
    tensors, damaged = without_scales(read), f"{path} is damaged: its tensors do not fit its metadata"
    try:
        width = _size(parse_json(about["width"], str(path)), WIDEST)
        blocks = _size(parse_json(about["blocks"], str(path)), DEEPEST)
    except (KeyError, ValueError) as error:
        raise BadInput(f"{damaged}; export it again") from error
    with torch.device("meta"):  # memory is taken by the file's tensors alone
        network = PictureRestorer(width, blocks)
    wanted = network.state_dict()
    wrong = sorted({*wanted} ^ {*tensors}) or [k for k, v in wanted.items() if tensors[k].shape != v.shape]
    if wrong:
        raise BadInput(f"{damaged} ({wrong[0]}); export it again")
    network.load_state_dict({k: checked(v, path, k).float() for k, v in tensors.items()}, assign=True)
    return network.eval().requires_grad_(False).to(device)


def _size(stored: object, largest: int) -> int:
    """A whole number from 1. Raises `ValueError` for others."""
    if type(stored) is not int or not 1 <= stored <= largest:
        raise ValueError("a size beyond reason")
    return stored
