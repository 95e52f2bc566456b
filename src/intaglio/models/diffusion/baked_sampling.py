"""`BakedSampling`: the sampling that a distilled model was made for, which its folder keeps as `sampling.json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput

FILE = "sampling.json"
Guidance = Literal["outside", "baked", "input"]
REMEDY = "distil the model again, or take the file of its own folder"


@dataclass(frozen=True)
class BakedSampling:
    """Timesteps, sampler and guidance that a model was trained for; the default leaves all of them to the caller."""

    timesteps: tuple[int | float, ...] | None = None
    """Timesteps of its steps, falling, whole numbers but on a straight path; None: any grid."""
    sampler: str | None = None
    """The sampler of its steps; None: any."""
    guidance: Guidance = "outside"
    """`outside`: by two predictions, as for any model; `baked`: its predictions are guided already; `input`: it takes
    the guidance scale as an input."""
    scales: tuple[float, float] | None = None
    """Least and greatest guidance scale that the training saw; for `baked` both are that of the teacher."""
    method: str | None = None
    """The sampling method of its steps, by name; None: any that asks a network as plain sampling does."""
    usual: float | None = None
    """Guidance scale where the caller names none; None: the usual one of all models, within `scales`."""

    def __post_init__(self) -> None:
        steps = self.timesteps
        if steps is not None and (not steps or steps[-1] < 0 or any(a <= b for a, b in pairwise(steps))):
            raise ValueError(f"timesteps must fall from the first to the last, and be 0 or more, not {steps}")
        if (self.guidance == "outside") != (self.scales is None):
            raise ValueError("scales belong to guidance that is baked in or an input")
        if self.scales is not None and not 0 <= self.scales[0] <= self.scales[1] < float("inf"):
            raise ValueError(f"scales must be a lower and an upper one, 0 or more, not {self.scales}")

    @property
    def words(self) -> str:
        """In words, for people."""
        steps = "any steps" if self.timesteps is None else f"{len(self.timesteps)} steps"
        low, high = self.scales or (0.0, 0.0)
        scales = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        guidance = {"outside": "guidance of your choice", "baked": f"guidance {scales} baked in"}
        guidance["input"] = f"guidance {scales} as an input, in one call a step"
        found = f"{steps}{f' of {self.sampler}' if self.sampler else ''}, {guidance[self.guidance]}"
        return found if self.method is None else f"{found}, by the method {self.method}"

    @property
    def facts(self) -> dict[str, Any]:
        """The values of the file; without a method or a usual scale those of versions that knew none."""
        later = {name for name in ("method", "usual") if getattr(self, name) is None}
        return {name: value for name, value in asdict(self).items() if name not in later}

    @classmethod
    def read(cls, folder: Path) -> "BakedSampling":
        """The sampling of a model's folder; without the file nothing is baked in.

        Raises `BadInput` for a file of another kind.
        """
        path = folder / FILE
        if not path.is_file():
            return FREE
        fields = Fields.read(path)
        try:
            return cls.of(fields.values)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{path} does not hold together ({error}); {REMEDY}") from None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "BakedSampling":
        """From the values of the file. Raises `ValueError` or `TypeError` for others."""
        if unknown := set(values) - {"timesteps", "sampler", "guidance", "scales", "usual", "method"}:
            raise ValueError(f"it has {min(unknown)}, which is not known here")
        steps, scales = (values.get(name) for name in ("timesteps", "scales"))
        if steps is not None and not (isinstance(steps, list) and all(map(_is_number, steps))):
            raise TypeError("timesteps must be a list of numbers")
        if scales is not None and not (isinstance(scales, list) and len(scales) == 2 and all(map(_is_number, scales))):
            raise TypeError("scales must be two numbers")
        if not isinstance(usual := values.get("usual"), int | float | None):
            raise TypeError("usual must be a number")
        sampler, method = (_name(values, name) for name in ("sampler", "method"))
        guidance = values.get("guidance", "outside")
        if guidance not in get_args(Guidance):
            raise ValueError(f"guidance must be one of {', '.join(get_args(Guidance))}, not {guidance!r}")
        return cls(
            None if steps is None else tuple(steps),
            sampler,
            guidance,
            None if scales is None else (float(scales[0]), float(scales[1])),
            method,
            None if usual is None else float(usual),
        )

    def write(self, folder: Path) -> None:
        """Writes the file, unless nothing is baked in."""
        if self != FREE:
            folder.joinpath(FILE).write_text(json.dumps(self.facts, indent=2, sort_keys=True) + "\n", "utf-8")


FREE = BakedSampling()
"""The sampling of a model that nothing was baked into."""


def guidance_embedding(scales: Float[Tensor, "n"], width: int) -> Float[Tensor, "n width"]:
    """Sines and cosines of 1000 (w - 1) for guidance scales w, as diffusers' consistency models take them."""
    half = width // 2
    rates = torch.exp(-torch.log(torch.tensor(10000.0)) / (half - 1) * torch.arange(half, dtype=torch.float32))
    angles = 1000 * (scales.float() - 1)[:, None] * rates.to(scales.device)
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, width - 2 * half))


def _name(values: Mapping[str, Any], field: str) -> str | None:
    value = values.get(field)
    if value is not None and not (isinstance(value, str) and value):
        raise TypeError(f"{field} must be a name")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
