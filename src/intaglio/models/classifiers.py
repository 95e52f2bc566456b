"""A small convolutional classifier of pictures with named heads, and the file that holds one."""

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
from intaglio.models.eight_bits import with_scales, without_scales
from intaglio.models.weights_file import checked, read_weights
from intaglio.randomness import generator

ARCHITECTURE = "intaglio-classifier-1"
"""The mark of the file's metadata."""
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
    ):
        """A network whose weights torch fills from its global state; `new_classifier` draws them from a seed.

        Args:
            heads: names of classes, two or more, in the order of the logits, by the head's name.
            widths: channels of each stage.
            repeats: blocks of each stage, as many numbers as `widths`.
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

    def features(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        """Input of the heads: the mean of the last maps, of `widths[-1]` numbers."""
        return self.pool(self.stages(1 - pixels)).flatten(1)  # ink on zero, as the padding is more of the white page

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> dict[str, Float[Tensor, "n _"]]:
        """Logits by head; of all heads the pictures go through the network once."""
        features = self.features(pixels)
        return {name: head(features) for name, head in self.heads.items()}

    def logits(self, pixels: Float[Tensor, "n 3 h w"], head: str) -> Float[Tensor, "n k"]:
        """Logits of one head, in the order of `classes[head]`. Raises `BadInput` for a head that there is not."""
        if head not in self.classes:
            raise BadInput(f"the classifier has no head {head!r}; choose one of: {', '.join(self.classes)}")
        return self.heads[head](self.features(pixels))


def _block(inward: int, outward: int, halves: bool) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    conv = nn.Conv2d(inward, outward, 3, stride=2 if halves else 1, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward), nn.ReLU())


def new_classifier(
    heads: Mapping[str, Sequence[str]],
    seed: int,
    widths: Sequence[int] = (32, 64, 128, 224),
    repeats: Sequence[int] = (1, 2, 1, 1),
) -> PictureClassifier:
    """An untrained classifier with weights that follow from the seed: uniform after He et al. (arXiv 1502.01852)."""
    with torch.device("meta"):
        classifier = PictureClassifier(heads, widths, repeats)
    classifier.to_empty(device="cpu")
    source = generator(seed, "classifier")
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=source)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
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
    with atomic_path(path) as temporary:
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, {**(card or {}), "architecture": ARCHITECTURE, **shape})


def load_classifier(path: Path, device: str | torch.device = "cpu") -> PictureClassifier:
    """Reads what `save_classifier` wrote, in evaluation mode and without gradients of its weights.

    Raises `BadInput` for a file that is missing, pickled, damaged, of another layout, or with NaN or infinity.
    """
    read, about = read_weights(path, "classifier")
    tensors = without_scales(read)
    if about.get("architecture") != ARCHITECTURE:
        raise BadInput(
            f"{path} does not say in its metadata that it is a {ARCHITECTURE}, so its network is unknown; give a file "
            "that Intaglio wrote as a classifier"
        )
    damaged = f"{path} is damaged: its tensors do not fit its metadata"
    try:
        heads, widths, repeats = (_described(about, key, path) for key in ("heads", "widths", "repeats"))
        with torch.device("meta"):  # memory is taken by the file's tensors alone
            classifier = PictureClassifier(_heads(heads), _sizes(widths, WIDEST), _sizes(repeats, DEEPEST))
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
