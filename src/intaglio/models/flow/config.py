"""The architecture of a TarFlow, and its `config.json`."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from intaglio.data_files import Fields, is_number, shown
from intaglio.errors import BadInput

MODEL_TYPE = "tarflow"
FORMAT = 1
MOST_BLOCKS, WIDEST = 4096, 2**20
"""Most blocks of a flow, and the largest of its other sizes, that are taken."""
_NEEDED = ("image_size", "patch_size", "hidden_size", "num_blocks", "layers_per_block")
_WHOLE = {
    "patch_size": 1,
    "hidden_size": 1,
    "head_dim": 1,
    "in_channels": 1,
    "mlp_ratio": 1,
    "num_classes": 0,
    "format_version": 0,
}
"""Whole numbers with their least values."""


@dataclass(frozen=True, kw_only=True)
class TarFlowConfig:
    """The architecture and formulas of a TarFlow, without its weights.

    A wrong value raises `ValueError` that names it.
    """

    image_size: tuple[int, int]
    """Height and width in pixels."""
    patch_size: int
    """Edge of a patch in pixels (P); it divides both edges of the picture."""
    hidden_size: int
    """Width of the transformers (d)."""
    num_blocks: int
    """Flow blocks (K); every other one reads the patches from the end."""
    layers_per_block: tuple[int, ...]
    """Attention layers of each block (L)."""
    head_dim: int = 64
    """Width of an attention head; it divides hidden_size."""
    in_channels: int = 3
    """3 for colour, 1 for grey."""
    mlp_ratio: int = 4
    """Width of the hidden layer of each MLP, in hidden sizes."""
    nvp: bool = True
    """Scale as well as shift; without, the volume is kept and the prior's variance is learned."""
    num_classes: int = 0
    """0: no labels."""
    noise_std: float = 0.0
    """Deviation of the Gaussian noise that the model was trained with, pictures being in [-1, 1]; 0: uniform
    dequantisation, as for likelihoods."""
    norm_eps: float = 1e-5
    """Added to the variance in layer normalisation, above 0."""
    scale_param: Literal["exp", "softplus"] = "exp"
    """The scale is exp(a), or softplus(a + ln(e - 1)), which is 1 at a = 0 too."""
    soft_clip: float | None = None
    """Keep the network's log-scale within plus and minus this by c tanh(a / c)."""
    permutation: Literal["alternate-flip"] = "alternate-flip"
    model_type: Literal["tarflow"] = MODEL_TYPE
    format_version: int = FORMAT

    def __post_init__(self) -> None:
        for name in ("patch_size", "hidden_size", "num_blocks", "head_dim", "mlp_ratio"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(self.num_blocks <= MOST_BLOCKS, f"num_blocks must be at most {MOST_BLOCKS}, not {self.num_blocks}")
        _require(self.in_channels in (1, 3), f"in_channels is 3 or 1, not {self.in_channels}")
        height, width = self.image_size
        _require(
            min(height, width) >= 1 and height % self.patch_size == 0 and width % self.patch_size == 0,
            f"patch_size {self.patch_size} must divide both edges of image_size {height}x{width}",
        )
        _require(
            len(self.layers_per_block) == self.num_blocks and min(self.layers_per_block) >= 1,
            f"layers_per_block wants a number above 0 for each of {self.num_blocks} blocks: {self.layers_per_block}",
        )
        _require(
            self.hidden_size % self.head_dim == 0,
            f"head_dim {self.head_dim} must divide hidden_size {self.hidden_size}",
        )
        _require(self.num_classes >= 0, f"num_classes must not be negative: {self.num_classes}")
        _require(0 <= self.noise_std < float("inf"), f"noise_std must not be negative: {self.noise_std}")
        _require(0 < self.norm_eps < float("inf"), f"norm_eps must be above 0, not {self.norm_eps}")
        _require(self.soft_clip is None or self.soft_clip > 0, f"soft_clip must be above 0: {self.soft_clip}")
        _require(self.scale_param in ("exp", "softplus"), f"scale_param is exp or softplus, not {self.scale_param!r}")
        _require(self.permutation == "alternate-flip", f"there is no permutation {self.permutation!r}")
        _require(self.model_type == MODEL_TYPE, f"model_type is {MODEL_TYPE}, not {self.model_type!r}")
        _require(
            self.format_version <= FORMAT,
            f"format_version {self.format_version} is newer than this Intaglio reads ({FORMAT}); update Intaglio",
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches a picture (T)."""
        return self.grid[0] * self.grid[1]

    @property
    def token_width(self) -> int:
        """Numbers a patch (C)."""
        return self.in_channels * self.patch_size**2

    def to_json(self) -> str:
        """The text of `config.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def of(cls, values: Mapping[str, Any], source: str = "the configuration") -> "TarFlowConfig":
        """From plain values, named `source` in errors.

        Unknown keys are left out with a warning; raises `BadInput` for missing ones, and for values of a wrong type or
        out of their range.
        """
        read = Fields(values, source, "give the file that the model was saved with")
        if (kind := read.text("model_type", MODEL_TYPE)) != MODEL_TYPE:
            raise BadInput(f"{source} is of a model of type {kind!r}; give the folder of a {MODEL_TYPE}")
        if missing := sorted(name for name in _NEEDED if values.get(name) is None):
            raise BadInput(f"{source} lacks {', '.join(missing)}; {read.remedy}")
        if unknown := sorted(values.keys() - {field.name for field in fields(cls)}):
            logging.getLogger("intaglio").warning("%s says %s, which is not used", source, ", ".join(unknown))
        size, blocks = _wholes(read, "image_size", (2,)), read.whole("num_blocks", low=1, high=MOST_BLOCKS)
        layers = _wholes(read, "layers_per_block", (blocks,))
        given = {
            "image_size": size * 2 if len(size) == 1 else size,
            "num_blocks": blocks,
            "layers_per_block": layers * blocks if len(layers) == 1 else layers,
            **{name: read.whole(name, None, low, WIDEST) for name, low in _WHOLE.items()},
            **{name: read.number(name, None) for name in ("noise_std", "norm_eps", "soft_clip")},
            "scale_param": read.text("scale_param", None, ("exp", "softplus")),
            "permutation": read.text("permutation", None, ("alternate-flip",)),
            "nvp": read.flag("nvp", None),
        }
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValueError as error:
            raise BadInput(f"{source} cannot be used: {error}") from error

    @classmethod
    def read(cls, path: Path) -> "TarFlowConfig":
        """From a `config.json`. Raises `BadInput` where it is missing, damaged or of another kind of model."""
        if not path.exists():
            raise BadInput(f"{path} is missing; give the folder that a flow was saved in")
        fields_read = Fields.read(path, "give the file that the model was saved with")
        return cls.of(fields_read.values, str(path))


def _wholes(read: Fields, key: str, counts: tuple[int, ...]) -> tuple[int, ...]:
    """A setting that is one whole number, or as many as `counts` says."""
    value = read.values[key]
    items = value if isinstance(value, list | tuple) else [value]
    if not all(is_number(item) and item == int(item) and 1 <= item <= WIDEST for item in items):
        raise BadInput(f"{read.source} has {key} {shown(value)}, where whole numbers are due; {read.remedy}")
    if len(items) not in (1, *counts):
        raise BadInput(f"{read.source} has {len(items)} numbers in {key}, where {counts[0]} are due; {read.remedy}")
    return tuple(map(int, items))


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
