"""A small convolutional classifier of pictures with named heads, and the file that holds one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.files import atomic_path
from intaglio.models.eight_bits import with_scales, without_scales
from intaglio.models.noise_levels import NoiseLevels
from intaglio.models.weights_file import checked, read_weights
from intaglio.randomness import generator

ARCHITECTURE = "intaglio-classifier-1"
"""The mark of the file's metadata."""
NOISE_ARCHITECTURE = "intaglio-noise-classifier-1"
"""The mark of a classifier that is told the level of the noise in its pictures."""
WIDEST = 4096
"""Largest number of channels of a layer that a file may ask for."""
DEEPEST = 16
"""Largest number of stages, and of blocks in a stage, that a file may ask for."""
MOST_CLASSES = 10_000
"""Largest number of classes of a head that a file may ask for."""


class PictureClassifier(nn.Module):
    """Pictures [n, 3, h, w] in [0, 1] to logits by head: stages of convolutions, each of half the side of the last.

    A block is a 3x3 convolution, batch normalisation and ReLU, all modules of their own, so that each can be hooked;
    the first of a stage has stride 2. Then the mean over the plane, and a linear layer for each head. Any side of 16
    pixels or more works. With the defaults 0.39 M parameters, and 24 M multiplications for 64 x 64.
    """

    def __init__(
        self,
        heads: Mapping[str, Sequence[str]],
        widths: Sequence[int] = (32, 64, 128, 224),
        repeats: Sequence[int] = (1, 2, 1, 1),
        *,
        levels: bool = False,
    ):
        """A network whose weights torch fills from its global state; `new_classifier` draws them from a seed.

        Args:
            heads: names of classes, two or more, in the order of the logits, by the head's name.
            widths: channels of each stage.
            repeats: blocks of each stage, as many numbers as `widths`.
            levels: whether the network is told the level of the noise in a picture, by which the maps of each block
                are scaled and shifted after their normalisation.
        """
        super().__init__()
        if len(widths) != len(repeats):
            raise ValueError(f"{len(widths)} widths have {len(repeats)} repeats")
        self.classes = {name: tuple(classes) for name, classes in heads.items()}
        """Names of classes by head."""
        self.widths, self.repeats = tuple(widths), tuple(repeats)
        stages, inward = [], 3
        for width, blocks in zip(widths, repeats, strict=True):
            stages.append(nn.Sequential(*(_block(inward if not k else width, width, k == 0) for k in range(blocks))))
            inward = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.heads = nn.ModuleDict({name: nn.Linear(inward, len(classes)) for name, classes in self.classes.items()})
        maps = [width for width, blocks in zip(widths, repeats, strict=True) for _ in range(blocks)]
        self.levels = NoiseLevels(maps) if levels else None
        """What scales and shifts the maps by the level of the noise; None in a classifier that takes no level."""

    def features(
        self, pixels: Float[Tensor, "n 3 h w"], sigma: Float[Tensor, "n"] | float | None = None
    ) -> Float[Tensor, "n f"]:
        """Input of the heads: the mean of the last maps, of `widths[-1]` numbers.

        `sigma` is the standard deviation of the noise on pixels in [0, 1], of each picture or of all; None tells a
        classifier that takes levels that there is no noise. Raises `BadInput` for one that takes none.
        """
        ink = 1 - pixels  # on zero, as the padding is more of the white page
        if self.levels is None:
            if sigma is not None:
                raise BadInput("the classifier takes no noise level; give one that was trained to be told it")
            return self.pool(self.stages(ink)).flatten(1)
        told = torch.as_tensor(0.0 if sigma is None else sigma, dtype=ink.dtype, device=ink.device)
        changes = self.levels(told.expand(len(ink)))
        blocks = [block for stage in self.stages for block in cast(nn.Sequential, stage)]
        for block, (scale, shift) in zip(blocks, changes, strict=True):
            convolution, norm, relu = cast(nn.Sequential, block)
            ink = relu(norm(convolution(ink)) * (1 + scale) + shift)
        return self.pool(ink).flatten(1)

    def forward(
        self, pixels: Float[Tensor, "n 3 h w"], sigma: Float[Tensor, "n"] | float | None = None
    ) -> dict[str, Float[Tensor, "n _"]]:
        """Logits by head; of all heads the pictures go through the network once. `sigma` as of `features`."""
        features = self.features(pixels, sigma)
        return {name: head(features) for name, head in self.heads.items()}

    def logits(
        self, pixels: Float[Tensor, "n 3 h w"], head: str, sigma: Float[Tensor, "n"] | float | None = None
    ) -> Float[Tensor, "n k"]:
        """Logits of one head, in the order of `classes[head]`; `sigma` as of `features`.

        Raises `BadInput` for a head that there is not, and as `features` does.
        """
        if head not in self.classes:
            raise BadInput(f"the classifier has no head {head!r}; choose one of: {', '.join(self.classes)}")
        return self.heads[head](self.features(pixels, sigma))


def _block(inward: int, outward: int, halves: bool) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    conv = nn.Conv2d(inward, outward, 3, stride=2 if halves else 1, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward), nn.ReLU())


def new_classifier(
    heads: Mapping[str, Sequence[str]],
    seed: int,
    widths: Sequence[int] = (32, 64, 128, 224),
    repeats: Sequence[int] = (1, 2, 1, 1),
    *,
    levels: bool = False,
) -> PictureClassifier:
    """An untrained classifier with weights that follow from the seed: uniform after He et al. (arXiv 1502.01852).

    One that takes noise levels starts as one that does not: its scales and shifts are nothing until they are trained.
    """
    with torch.device("meta"):
        classifier = PictureClassifier(heads, widths, repeats, levels=levels)
    classifier.to_empty(device="cpu")
    source = generator(seed, "classifier")
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=source)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    if classifier.levels is not None:
        nn.init.zeros_(classifier.levels.outward.weight)
    return classifier


def save_classifier(
    classifier: PictureClassifier, path: Path, card: Mapping[str, str] | None = None, *, eight_bits: bool = False
) -> None:
    """Writes weights in half precision, other numbers in single, and the network's shape, atomically.

    Args:
        classifier: left as it is.
        path: of a `.safetensors` file.
        card: further words for the metadata, such as steps and licence.
        eight_bits: convolutions as whole numbers of -127 to 127, with a scale for each map, in place of half precision.
    """
    tensors = {}
    for name, value in classifier.state_dict().items():
        weight = value.detach().cpu().float()
        if eight_bits and weight.dim() == 4:
            tensors |= with_scales(name, weight)
        elif "num_batches" not in name:
            tensors[name] = weight.half() if weight.dim() > 1 else weight
    shape = {
        "heads": json.dumps(classifier.classes),
        "widths": json.dumps(classifier.widths),
        "repeats": json.dumps(classifier.repeats),
    }
    mark = ARCHITECTURE if classifier.levels is None else NOISE_ARCHITECTURE
    with atomic_path(path) as temporary:
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, {**(card or {}), "architecture": mark, **shape})


def load_classifier(path: Path, device: str | torch.device = "cpu", *, levels: bool = False) -> PictureClassifier:
    """Reads what `save_classifier` wrote, in evaluation mode and without gradients of its weights.

    `levels` lets classifiers pass that take noise levels, beside those that take none. Raises `BadInput` for a file
    that is missing, pickled, damaged, of another layout, or with NaN or infinity.
    """
    read, about = read_weights(path, "classifier")
    tensors = without_scales(read)
    if (mark := about.get("architecture")) not in (ARCHITECTURE, NOISE_ARCHITECTURE):
        raise BadInput(
            f"{path} does not say in its metadata that it is a {ARCHITECTURE}, so its network is unknown; give a file "
            "that Intaglio wrote as a classifier"
        )
    if mark == NOISE_ARCHITECTURE and not levels:
        raise BadInput(
            f"{path} holds a classifier that is told the level of the noise in its pictures, which nothing but "
            "`protect certify` tells; give one without noise levels"
        )
    damaged = f"{path} is damaged: its tensors do not fit its metadata"
    try:
        heads, widths, repeats = (_described(about, key, path) for key in ("heads", "widths", "repeats"))
        with torch.device("meta"):  # memory is taken by the file's tensors alone
            shape = _heads(heads), _sizes(widths, WIDEST), _sizes(repeats, DEEPEST)
            classifier = PictureClassifier(*shape, levels=mark == NOISE_ARCHITECTURE)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise BadInput(f"{damaged}; export it again") from error
    wanted = {k: v for k, v in classifier.state_dict().items() if "num_batches" not in k}
    wrong = sorted({*wanted} ^ {*tensors}) or [k for k, v in wanted.items() if tensors[k].shape != v.shape]
    if wrong:
        raise BadInput(f"{damaged} ({wrong[0]}); export it again")
    state = {k: checked(v, path, k).float() for k, v in tensors.items()}
    counters = {k: torch.zeros((), dtype=torch.long) for k in classifier.state_dict() if "num_batches" in k}
    classifier.load_state_dict({**state, **counters}, assign=True)
    return classifier.eval().requires_grad_(False).to(device)


def _described(about: Mapping[str, str], key: str, path: Path) -> object:
    return parse_json(about[key], str(path))


def _heads(stored: object) -> dict[str, tuple[str, ...]]:
    """Names of classes by head. Raises `ValueError` for what is no such table."""
    if not isinstance(stored, dict) or not stored:
        raise ValueError("no heads")
    for name, classes in stored.items():
        whole = isinstance(classes, list) and all(isinstance(one, str) for one in classes)
        if not whole or not 1 < len(set(classes)) == len(classes) <= MOST_CLASSES or not name.isidentifier():
            raise ValueError(f"head {name} has no names of classes")
    return {name: tuple(classes) for name, classes in stored.items()}


def _sizes(stored: object, largest: int) -> list[int]:
    """Numbers of channels or of blocks. Raises `ValueError` for others."""
    if not isinstance(stored, list) or not 1 <= len(stored) <= DEEPEST:
        raise ValueError("no sizes")
    if not all(type(one) is int and 1 <= one <= largest for one in stored):
        raise ValueError("sizes beyond reason")
    return stored
