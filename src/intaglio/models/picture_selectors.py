"""A small U-Net that says for each pixel of a picture how much of it is shown, and the file that holds one."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.files import atomic_path
from intaglio.models.weights_file import checked, read_weights
from intaglio.randomness import generator

ARCHITECTURE = "intaglio-picture-selector-1"
"""The mark of the file's metadata."""
WIDTHS = (16, 32, 64)
"""Channels of each level, where none are said."""
WIDEST, DEEPEST = 4096, 8
"""Largest numbers of channels and of levels that a file may ask for."""


class PictureSelector(nn.Module):
    """Pictures [n, 3, h, w] in [0, 1] to masks [n, h, w] in (0, 1): a U-Net (arXiv 1505.04597) and a sigmoid.

    A block is a 3x3 convolution, batch normalisation and ReLU. Each level but the first halves the side; on the way
    back maps are doubled by repetition, put beside those of the level above, and go through a block of its width. A
    1x1 convolution gives the logit of the mask. Any side works. With the defaults 0.06 M parameters, and 67 M
    multiplications for 64 x 64.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS):
        """A network whose weights torch fills from its global state; `new_selector` draws them from a seed.

        Args:
            widths: channels of each level, of which each but the first has half the side of the one before.
        """
        super().__init__()
        self.widths = tuple(widths)
        pairs = enumerate(zip((3, *widths[:-1]), widths, strict=True))
        self.down = nn.ModuleList(_block(inward, outward, 2 if level else 1) for level, (inward, outward) in pairs)
        self.up = nn.ModuleList(_block(a + b, a, 1) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[0], 1, 1)

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n h w"]:
        """Share of each pixel that is shown, in (0, 1)."""
        maps, skips = 1 - pixels, list[Tensor]()  # ink on zero, as the padding is more of the white page
        for block in self.down:
            maps = block(maps)
            skips.append(maps)
        skips.pop()
        for block in reversed(self.up):
            skip = skips.pop()
            maps = block(torch.cat([skip, interpolate(maps, skip.shape[-2:], mode="nearest")], 1))
        return self.last(maps)[:, 0].sigmoid()


def _block(inward: int, outward: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inward, outward, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward), nn.ReLU())


def new_selector(seed: int, widths: Sequence[int] = WIDTHS) -> PictureSelector:
    """An untrained network with weights that follow from the seed: uniform after He et al. (arXiv 1502.01852).

    About half of every pixel is shown at first.
    """
    with torch.device("meta"):
        selector = PictureSelector(widths)
    selector.to_empty(device="cpu")
    source = generator(seed, "selector")
    for module in selector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=source)
    nn.init.zeros_(selector.last.bias)  # pyright: ignore[reportArgumentType]
    return selector


def save_selector(selector: PictureSelector, path: Path, card: Mapping[str, str] | None = None) -> None:
    """Writes weights in single precision and the network's shape, atomically.

    Args:
        selector: left as it is.
        path: of a `.safetensors` file.
        card: further words for the metadata.
    """
    state = {k: v for k, v in selector.state_dict().items() if "num_batches" not in k}
    tensors = {name: value.detach().cpu().float().contiguous() for name, value in state.items()}
    with atomic_path(path) as temporary:
        save_file(
            tensors, temporary, {**(card or {}), "architecture": ARCHITECTURE, "widths": json.dumps(selector.widths)}
        )


def load_selector(path: Path, device: str | torch.device = "cpu") -> PictureSelector:
    """Reads what `save_selector` wrote, in evaluation mode and without gradients of its weights.

    Raises `BadInput` for a file that is missing, pickled, damaged, of another layout, or with NaN or infinity.
    """
    tensors, about = read_weights(path, "selector")
    if about.get("architecture") != ARCHITECTURE:
        raise BadInput(
            f"{path} does not say in its metadata that it is a {ARCHITECTURE}, so its network is unknown; give a file "
            "that Intaglio wrote as a selector"
        )
    damaged = f"{path} is damaged: its tensors do not fit its metadata"
    try:
        with torch.device("meta"):  # memory is taken by the file's tensors alone
            selector = PictureSelector(_widths(parse_json(about["widths"], str(path))))
    except (KeyError, ValueError) as error:
        raise BadInput(f"{damaged}; export it again") from error
    wanted = {k: v for k, v in selector.state_dict().items() if "num_batches" not in k}
    wrong = sorted({*wanted} ^ {*tensors}) or [k for k, v in wanted.items() if tensors[k].shape != v.shape]
    if wrong:
        raise BadInput(f"{damaged} ({wrong[0]}); export it again")
    state = {k: checked(v, path, k).float() for k, v in tensors.items()}
    counters = {k: torch.zeros((), dtype=torch.long) for k in selector.state_dict() if "num_batches" in k}
    selector.load_state_dict({**state, **counters}, assign=True)
    return selector.eval().requires_grad_(False).to(device)


def _widths(stored: object) -> list[int]:
    """Numbers of channels. Raises `ValueError` for others."""
    if not isinstance(stored, list) or not 1 <= len(stored) <= DEEPEST:
        raise ValueError("no widths")
    if not all(type(one) is int and 1 <= one <= WIDEST for one in stored):
        raise ValueError("widths beyond reason")
    return stored
