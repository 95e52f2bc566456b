"""Plans of `auto`: the choice for each block, measured for a model, a device and a size of batch, and their files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.files import file_hash
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.plan.guess import LocalGuess
from intaglio.flow.tiers import TIERS, TierName
from intaglio.models.flow.config import TarFlowConfig
from intaglio.models.flow.tarflow import TarFlow
from intaglio.models.flow.tarflow_files import fingerprint
from intaglio.runs.machine import processor
from intaglio.runs.tensors import read_state, write_state

FORMAT = 1
LOOSEST = 1000.0
"""Largest tolerance of a plan, as a multiple of its tier's largest error: more than any sweep changes a number by."""
MOST_COARSE = 64
"""Largest number of coarse sweeps of a plan."""
MEASURE = "delete the file, and measure a plan again with: intaglio flow calibrate"
"""The remedy for a plan that cannot be used."""

MethodName = Literal["sequential", "jacobi", "frontier"]
GuessName = Literal["output", "zeros", "fitted"]


@dataclass(frozen=True)
class Choice:
    """The decoding of one block: a method and its settings, with the time and the error that were measured."""

    method: MethodName
    tolerance: float = 0.0
    """Change below which a picture (jacobi) or a patch (frontier) is done."""
    window: int = 0
    """Patches a pass of the frontier; 0 adapts them."""
    coarse_sweeps: int = 0
    """Number of sweeps in bfloat16 that come first."""
    guess: GuessName = "output"
    """First iterate: the block's output, zeros, or a `LocalGuess`."""
    cap: int = 0
    """Most sweeps (jacobi); pictures that are not done by then go on patch by patch."""
    seconds: float = 0.0
    """Time of one batch."""
    error: float = 0.0
    """Largest difference of the block's own result from the sequential one."""

    @classmethod
    def read(cls, fields: Fields, tier: TierName) -> "Choice":
        """From a plan's file. Raises `BadInput` for what no plan of this tier holds."""
        return cls(
            fields.text("method", among=get_args(MethodName)),
            fields.number("tolerance", 0.0, low=0.0, high=loosest(tier)),
            fields.whole("window", 0),
            fields.whole("coarse_sweeps", 0, high=MOST_COARSE),
            fields.text("guess", "output", among=get_args(GuessName)),
            fields.whole("cap", 0),
            fields.number("seconds", 0.0, low=0.0),
            fields.number("error", 0.0, low=0.0),
        )

    def __str__(self) -> str:
        if self.method == "sequential":
            return "patch by patch"
        first = f"{self.coarse_sweeps} coarse sweeps from the {self.guess} guess, then "
        then = "sweeps" if self.method == "jacobi" else f"windows of {self.window}"
        return f"{first if self.coarse_sweeps else f'from the {self.guess} guess '}{then} to {self.tolerance:.1e}"


@dataclass(frozen=True, eq=False)
class DecoderPlan:
    """A choice for each block, with the time and the error of the whole; `str()` describes it for people."""

    key: dict[str, Any]
    """Model, device, type, threads, batch, guidance and tier that it was measured for; see `key_of`."""
    choices: tuple[Choice, ...]
    """In the order of decoding."""
    guesses: dict[int, LocalGuess] = field(default_factory=dict)
    """Fitted guesses by index in that order, for choices that start from one."""
    seconds: float = 0.0
    """Time of the whole plan, for one batch, when it was proved."""
    sequential_seconds: float = 0.0
    """Time of sequential decoding, for one batch, then."""
    largest: float = 0.0
    """Largest difference from sequential decoding on latents that nothing was chosen on, in [-1, 1]."""
    mean: float = 0.0
    """Mean absolute difference on the same."""
    gains: tuple[float, ...] = ()
    """Sequential time over the plan's, for each pair of timings by turns; none where nothing is gained."""

    @property
    def is_measured(self) -> bool:
        """Whether `calibrate` timed it; a plan that was not is a rule of thumb."""
        return self.seconds > 0

    @property
    def is_sequential(self) -> bool:
        """Whether every block goes patch by patch."""
        return all(choice.method == "sequential" for choice in self.choices)

    @property
    def sequential(self) -> "DecoderPlan":
        """The plan for the same key by which every block goes patch by patch."""
        return DecoderPlan(self.key, (Choice("sequential"),) * len(self.choices))

    def save(self, folder: Path) -> Path:
        """Write it to the file that `find` looks for; returns the path."""
        tensors = {name: t for order, guess in self.guesses.items() for name, t in guess.tensors(str(order)).items()}
        about = {
            "format": FORMAT,
            "key": self.key,
            "choices": [asdict(choice) for choice in self.choices],
            "fitted": {str(order): guess.grid for order, guess in self.guesses.items()},
            "seconds": self.seconds,
            "sequential_seconds": self.sequential_seconds,
            "largest": self.largest,
            "mean": self.mean,
            "gains": self.gains,
        }
        path = folder / file_name(self.key)
        write_state(path, tensors or {"none": torch.zeros(1)}, about)
        return path

    @classmethod
    def read(cls, path: Path) -> "DecoderPlan":
        """Read a file that `save` wrote. Raises `BadInput` where there is none, or one that no calibration wrote."""
        found = read_state(path)
        if found is None or found[1].get("format") != FORMAT:
            raise BadInput(f"{path} holds no decoder plan of this version; measure one with: intaglio flow calibrate")
        tensors, about = found[0], Fields(found[1], str(path), MEASURE)
        key = about.table("key")
        tier: TierName = key.text("tier", among=TIERS)
        key.text("model")
        key.whole("batch", low=1)
        return cls(
            dict(key.values),
            tuple(Choice.read(choice, tier) for choice in _tables(about, "choices")),
            _guesses(tensors, about.table("fitted")),
            about.number("seconds", low=0.0),
            about.number("sequential_seconds", low=0.0),
            about.number("largest", low=0.0, high=TIERS[tier].largest),
            about.number("mean", low=0.0, high=TIERS[tier].mean),
            tuple(about.numbers("gains", ())),
        )

    @classmethod
    def find(cls, folder: Path, key: Mapping[str, Any], config: TarFlowConfig) -> "DecoderPlan | None":
        """The plan for exactly this key and a model of this configuration, or None.

        Raises `BadInput` where the file of that name holds a plan for other conditions or another shape of model.
        """
        path = folder / file_name(key)
        if not path.is_file():
            return None
        plan, wanted = cls.read(path), json.loads(json.dumps(key))
        if plan.key != wanted:
            other = ", ".join(name for name in wanted if plan.key.get(name) != wanted[name]) or "more conditions"
            raise BadInput(f"{path} holds a plan for other conditions than its name says ({other}); {MEASURE}")
        if not plan.fits(config):
            raise BadInput(f"{path} holds a plan for a model of another shape; {MEASURE}")
        return plan

    def fits(self, config: TarFlowConfig) -> bool:
        """Whether it has a choice for each block of a model, and the fitted guesses that these start from."""
        fitted = {order for order, choice in enumerate(self.choices) if choice.guess == "fitted"}
        guesses = [guess.fits(config.grid, config.token_width) for guess in self.guesses.values()]
        return len(self.choices) == config.num_blocks and fitted <= set(self.guesses) and all(guesses)

    def __str__(self) -> str:
        lines = [
            f"block {index}: {choice} ({1e3 * choice.seconds:.1f} ms, error {choice.error:.1e})"
            for index, choice in zip(reversed(range(len(self.choices))), self.choices, strict=True)
        ]
        speed = self.sequential_seconds / self.seconds if self.seconds else float("nan")
        spread = f" ({min(self.gains):.2f} to {max(self.gains):.2f} by turns)" if self.gains else ""
        whole = (
            f"{1e3 * self.seconds:.0f} ms a batch of {self.key['batch']}, {speed:.2f} times as fast as patch by patch"
            f"{spread}; largest difference {self.largest:.1e}, mean {self.mean:.1e}"
        )
        return "\n".join([*lines, whole])


def _tables(fields: Fields, key: str) -> list[Fields]:
    found = fields.values.get(key)
    if not isinstance(found, list):
        raise BadInput(f"{fields.source} has no list of {key}; {fields.remedy}")
    return [Fields.of(item, f"{fields.source}, {key}", fields.remedy) for item in found]


def _guesses(tensors: Mapping[str, torch.Tensor], grids: Fields) -> dict[int, LocalGuess]:
    """The fitted guesses by index, from the grid of each."""
    guesses = {}
    for order in grids.values:
        rows, columns = grids.numbers(order, count=2)
        if not order.isdecimal() or len(order) > 4 or not (rows.is_integer() and columns.is_integer()):
            raise BadInput(f"{grids.source} has no grid of patches for a block at {order!r}; {grids.remedy}")
        guesses[int(order)] = LocalGuess.of(tensors, order, (int(rows), int(columns)))
    return guesses


def loosest(tier: TierName) -> float:
    """The largest tolerance of a plan for a tier."""
    return LOOSEST * TIERS[tier].largest


def plan_input(folder: Path, key: Mapping[str, Any]) -> dict[str, str]:
    """The plan for a key as an input of a run: the file's path and sha256, "none" where there is none."""
    path = folder / file_name(key)
    return {"path": str(path), "sha256": file_hash(path)} if path.is_file() else {"path": "none", "sha256": "none"}


def key_of(model: TarFlow, batch: int, guidance: Guidance, tier: TierName) -> dict[str, Any]:
    """The conditions that a plan is measured under; under others its times and errors do not hold."""
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else processor()
    return {
        "model": fingerprint(model),
        "device": device,
        "dtype": str(model.block(0).dtype).removeprefix("torch."),
        "threads": torch.get_num_threads() if model.device.type == "cpu" else 0,
        "batch": bucket(batch),
        "guidance": asdict(guidance) if guidance.acts(model.config.num_classes) else None,
        "tier": tier,
    }


def bucket(batch: int) -> int:
    """The power of two nearest to a batch size: the batch that a plan is kept for."""
    return 2 ** round(torch.tensor(float(max(1, batch))).log2().item())


def file_name(key: Mapping[str, Any]) -> str:
    """Name of the file of the plan for a key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return f"{key['model'][:8]}-{key['tier']}-{key['batch']}-{digest[:8]}.safetensors"
