"""An edit of what a module of the denoiser gives at each step, towards a value that is drawn for each picture.

It is found from sample drawings, stored as one safetensors file, and acts on pictures of any seeds and prompts.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.sparse_codes import SparseAutoencoder
from intaglio.randomness import generator
from intaglio.runs.tensors import read_state, write_state

Way = Literal["add", "multiply"]
"""add: codes are raised by an amount; multiply: codes are scaled by it."""
FILE = "edit.safetensors"
KIND = "intaglio-site-edit-1"
"""The mark of the file's note."""


class SiteChange(ABC):
    """The change of an output towards each of k values."""

    @abstractmethod
    def change(
        self, output: Float[Tensor, "n *shape"], towards: Int[Tensor, "n"], t: int | float
    ) -> Float[Tensor, "n *shape"]:
        """Change of each row at a timestep, towards the row's value, by its place; it is added."""

    @abstractmethod
    def scaled(self, strength: float) -> "SiteChange":
        """The change at so many times its strength, linearly."""


@dataclass(frozen=True, eq=False)
class ValueShifts(SiteChange):
    """A shift for each value and step."""

    shifts: Float[Tensor, "k s *shape"]
    timesteps: tuple[int | float, ...]
    """Of the steps; at another timestep the shift of the nearest one acts."""

    def change(
        self, output: Float[Tensor, "n *shape"], towards: Int[Tensor, "n"], t: int | float
    ) -> Float[Tensor, "n *shape"]:
        """The shifts of the step, whatever the output is. Raises `BadInput` for an output of another shape."""
        if self.shifts.shape[2:] != output.shape[1:]:
            shapes = f"{tuple(self.shifts.shape[2:])}, and the site gives {tuple(output.shape[1:])}"
            raise BadInput(f"the edit is of shape {shapes}; find one for this model")
        step = min(range(len(self.timesteps)), key=lambda k: abs(self.timesteps[k] - t))
        return self.shifts[:, step].to(output)[towards.to(output.device)]

    def scaled(self, strength: float) -> "ValueShifts":
        """Shifts times the strength."""
        return replace(self, shifts=self.shifts * strength)


@dataclass(frozen=True, eq=False)
class ValueCodes(SiteChange):
    """Codes of each value that are raised or scaled at every place, as rows of a dictionary.

    With z the codes of a place's c numbers and z' the changed ones, the output moves by (z' - z) D: no bias of a
    decoder takes part, and of codes that stay nothing is left, not even a rounding.
    """

    autoencoder: SparseAutoencoder
    features: Int[Tensor, "k m"]
    """Codes of each value."""
    amounts: Float[Tensor, "k m"]
    """add: what is added to each code; multiply: the factor less 1."""
    way: Way

    def change(
        self, output: Float[Tensor, "n *shape"], towards: Int[Tensor, "n"], t: int | float
    ) -> Float[Tensor, "n *shape"]:
        """The same whatever the timestep. Raises `BadInput` for an output of other channels."""
        known = self.autoencoder
        if output.shape[1] != known.dictionary.shape[1]:
            shapes = f"{known.dictionary.shape[1]} channels, and the site gives {output.shape[1]}"
            raise BadInput(f"the edit is of {shapes}; find one for this model")
        chosen, amounts = self.features[towards.cpu()], self.amounts[towards.cpu()]
        atoms = known.dictionary[chosen] * known.unit
        if self.way == "add":
            moved = (amounts[:, :, None] * atoms).sum(1).to(output)
            return moved[(..., *[None] * (output.dim() - 2))].expand_as(output)
        flat = output.detach().float().cpu().flatten(2).movedim(1, 2)
        codes = known.codes(flat.flatten(0, 1)).unflatten(0, flat.shape[:2])
        taken = codes.gather(2, chosen[:, None].expand(-1, flat.shape[1], -1))
        moved = (taken * amounts[:, None]) @ atoms
        return moved.movedim(1, 2).reshape(output.shape).to(output)

    def scaled(self, strength: float) -> "ValueCodes":
        """Amounts times the strength."""
        return replace(self, amounts=self.amounts * strength)


@dataclass(frozen=True, eq=False)
class SiteEdit:
    """A change of what a site gives, of which each picture takes the part towards one value, drawn uniformly."""

    site: str
    """A module of the denoiser."""
    values: tuple[str, ...]
    model: str
    """Fingerprint of the model that it was found in."""
    change: SiteChange
    seed: int = 0
    """Of the values that pictures take."""

    def towards(self, seeds: Sequence[int]) -> Int[Tensor, "n"]:
        """Place of the value that the picture of each seed is led to: a function of the two seeds."""
        return drawn_values(len(self.values), seeds, self.seed)

    def edited(
        self, output: Float[Tensor, "n *shape"], towards: Int[Tensor, "n"], t: int | float
    ) -> Float[Tensor, "n *shape"]:
        """The output in its place."""
        return output + self.change.change(output, towards, t)

    def scaled(self, strength: float) -> "SiteEdit":
        """The edit at so many times its strength; 0 changes nothing."""
        return replace(self, change=self.change.scaled(strength))

    def parts(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Tensors and plain values that it is stored as."""
        about: dict[str, object] = {"kind": KIND, "site": self.site, "values": self.values, "model": self.model}
        about["seed"] = self.seed
        if isinstance(self.change, ValueShifts):
            return {"shifts": self.change.shifts}, {**about, "timesteps": self.change.timesteps}
        codes = cast(ValueCodes, self.change)
        known = codes.autoencoder
        about |= {"way": codes.way, "unit": known.unit, "active": known.active}
        tensors = {name: getattr(known, name) for name in ("encoder", "offset", "dictionary")}
        return {**tensors, "features": codes.features, "amounts": codes.amounts}, about

    def save(self, path: Path) -> None:
        """Writes a safetensors file atomically."""
        write_state(path, *self.parts())

    @classmethod
    def load(cls, path: Path) -> "SiteEdit | None":
        """That of a file, or of a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        path = path / FILE if path.is_dir() else path
        read = read_state(path)
        if read is None:
            return None
        tensors, about = read
        try:
            if about.get("kind") != KIND:
                raise ValueError("its note does not say that it is an edit")
            values, found = tuple(map(str, about["values"])), _change(tensors, about)
            edit = cls(str(about["site"]), values, str(about["model"]), found, int(about["seed"]))
            known = found.shifts if isinstance(found, ValueShifts) else found.features
            if not 0 < len(values) == len(known):
                raise ValueError("values and tensors do not fit each other")
            return edit
        except (KeyError, TypeError, AttributeError, ValueError, IndexError, RuntimeError) as error:
            raise BadInput(f"{path} is damaged ({error}); find the edit again") from error


def drawn_values(count: int, seeds: Sequence[int], seed: int) -> Int[Tensor, "n"]:
    """Place of a value for each seed of a picture, of `count` that are as likely, by another seed."""
    return torch.stack([torch.randint(count, (), generator=generator(seed, "value", one)) for one in seeds])


def _change(tensors: dict[str, Tensor], about: dict[str, object]) -> "ValueShifts | ValueCodes":
    """The change of a file. Raises `ValueError` and its like for tensors that do not fit each other."""
    if not all(bool(one.isfinite().all()) for one in tensors.values()):
        raise ValueError("numbers that are not finite")
    if "shifts" in tensors:
        timesteps = tuple(cast(Sequence[float], about["timesteps"]))
        shifts = tensors["shifts"].float()
        if shifts.dim() < 3 or shifts.shape[1] != len(timesteps) or not timesteps:
            raise ValueError("shifts and timesteps do not fit each other")
        return ValueShifts(shifts, timesteps)
    encoder, offset, dictionary = (tensors[name].float() for name in ("encoder", "offset", "dictionary"))
    features, amounts, way = tensors["features"].long(), tensors["amounts"].float(), about["way"]
    unit, active = float(cast(float, about["unit"])), int(cast(int, about["active"]))
    fits = encoder.shape == dictionary.shape and offset.shape == (len(encoder),) and features.shape == amounts.shape
    inside = features.dim() == 2 and features.numel() and 0 <= int(features.min()) <= int(features.max()) < len(encoder)
    if not fits or not inside or way not in ("add", "multiply") or not 1 <= active <= len(encoder):
        raise ValueError("codes do not fit the dictionary")
    return ValueCodes(SparseAutoencoder(unit, active, encoder, offset, dictionary), features, amounts, cast(Way, way))
