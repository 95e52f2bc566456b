"""Shrinking: the contract of a method, which makes a model's weights smaller."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch

from intaglio.errors import BadInput, require
from intaglio.models.capabilities import HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.packed_file import Packing
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import planned_seconds
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.layers import SHRINKABLE, weight_layers
from intaglio.shrink.shrunk import Shrunk
from intaglio.shrink.time_spread import NormalTimes
from intaglio.verbs import FileName

TIMED_ROWS = 4
"""Half of the rows of the call that is timed for a plan."""


@dataclass(frozen=True)
class ShrinkPlan:
    """Size and work of a shrinking, before it begins."""

    before: int
    """Bytes of the parts' weights at 16 bits each."""
    after: int
    """Bytes as they will be stored."""
    rows: int = 0
    """Calibration rows that go through the network, those of every pass."""


@dataclass(frozen=True, kw_only=True)
class Shrinker(ABC):
    """Settings of a shrinking, and the smaller model that it makes. The model is left as it was found."""

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    kind: ClassVar[Literal["quantise", "prune"]]
    """Fewer bits a weight, or fewer weights."""
    needs: ClassVar[tuple[type, ...]] = (PredictsNoise, ReadsPrompts, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    calibrated: ClassVar[bool] = False
    """Whether it learns from calibration rows."""
    on_base: ClassVar[bool] = False
    """Whether it stores the change of a fine-tune from its base alone, which is read with that base."""
    structural: ClassVar[bool] = False
    """Whether it changes what is computed rather than bits: it removes modules, or puts others in their place, and
    stores the weights unpacked, in half precision."""
    trained: ClassVar[bool] = False
    """Whether it ends with a training of many steps, which `intaglio bench shrink --quick` leaves out."""
    bench: ClassVar[Sequence[Mapping[str, Any]]] = (MappingProxyType({}),)
    """Settings of each of its rows in `intaglio bench shrink`, the one with the most bytes first."""

    parts: tuple[str, ...] = ("denoiser",)
    """Networks made smaller: denoiser, text_encoder, text_encoder_2."""
    keep: tuple[str, ...] = ("conv_in", "conv_out")
    """Layers that keep 8 bits a weight, by their names, or those of modules around them; in place of the default."""
    seed: int = 0
    """Seed of whatever is drawn."""

    def __post_init__(self) -> None:
        require(len(self.parts) > 0, f"parts must name one of {', '.join(SHRINKABLE)}, or more")
        unknown = [part for part in self.parts if part not in SHRINKABLE]
        require(not unknown, f"parts must be of {', '.join(SHRINKABLE)}, not {', '.join(unknown)}")
        require(len(set(self.parts)) == len(self.parts), "parts must name each part once")

    def check(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` for a model that it cannot make smaller, or another base; called before any work."""
        check_needs(self, model)
        if self.on_base != (base is not None):
            wanted = "stores the change from a base alone: give the base too" if self.on_base else "takes no base"
            raise BadInput(f"{self.name} {wanted}")
        if base is not None and (apart := model.differences(base)):
            raise BadInput(f"{model.name} was not made from {base.name}: they differ in {apart[0]}; give its own base")
        if packed := [part for part in self.parts if part in model.packing]:
            raise BadInput(
                f"the {packed[0]} of {model.name} is packed already ({model.packing[packed[0]].words}); give the model "
                "that it was made from"
            )
        weight_layers(model, self.parts)
        self._check_keep(model)
        if model.dtype != torch.float32:
            raise BadInput(f"{model.name} is loaded in {model.dtype}; load it in float32, it is stored smaller anyway")

    def _check_keep(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a name to keep that no module has; those of the default may be missing."""
        known = [path for part in self.parts for path, _ in model.parts[part].named_modules() if path]
        usual = type(self).__dataclass_fields__["keep"].default
        if unknown := [name for name in self.keep if name not in known and name not in usual]:
            near = get_close_matches(unknown[0], known, 3, 0.4)
            advice = f"; near are {', '.join(near)}" if near else ""
            raise BadInput(f"{model.name} has no layer or module {unknown[0]!r} to keep{advice}")

    @abstractmethod
    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and the calibration rows that go through the network, of `rows` that are given."""

    def seconds(self, model: LatentDiffusion, rows: int) -> float:
        """Seconds of the shrinking itself on so many calibration rows: here those of the calls of the network alone."""
        return planned_seconds(Calls(forward=self.planned(model, rows).rows), model, TIMED_ROWS)

    @abstractmethod
    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The smaller model; a run that was killed goes on and gives the same bits.

        Args:
            model: left as it was found.
            calibration: rows to learn from, for a method that is `calibrated`.
            base: the model that it was fine-tuned from, for a method that is `on_base`, and only for such.
            run: keeps what is done.

        Raises `BadInput` for a model that it cannot make smaller, and where calibration rows or the base are missing.
        """

    def given_rows(self, calibration: CalibrationStates | None) -> CalibrationStates:
        """The calibration rows. Raises `BadInput` where there are none."""
        if calibration is None:
            raise BadInput(f"{self.name} learns from calibration rows, and none are given; give a calibration")
        return calibration

    @property
    def calibration_times(self) -> NormalTimes | None:
        """The times of the calibration rows that it wants to learn from; None: evenly spread."""
        return None

    def packing(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> Packing:
        """The note of a packed file: method, models and settings."""
        on = None if base is None else base.fingerprint
        return Packing(self.name, model.fingerprint, self.settings, on=on)

    @property
    def settings(self) -> dict[str, Any]:
        """The method's settings, as plain values."""
        return asdict(self)
