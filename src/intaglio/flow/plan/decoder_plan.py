"""Plans of `auto`: the choice for each block, measured for a model, a device and a size of batch, and their files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from intaglio.errors import BadInput
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.plan.guess import LocalGuess
from intaglio.flow.tiers import TierName
from intaglio.models.flow.tarflow import TarFlow
from intaglio.models.flow.tarflow_files import fingerprint
from intaglio.runs.machine import processor
from intaglio.runs.tensors import read_state, write_state

FORMAT = 1


@dataclass(frozen=True)
class Choice:
    """The decoding of one block: a method and its settings, with the time and the error that were measured."""

    method: Literal["sequential", "jacobi", "frontier"]
    tolerance: float = 0.0
    """Change below which a picture (jacobi) or a patch (frontier) is done."""
    window: int = 0
    """Patches a pass of the frontier; 0 adapts them."""
    coarse_sweeps: int = 0
    """Number of sweeps in bfloat16 that come first."""
    guess: Literal["output", "zeros", "fitted"] = "output"
    """First iterate: the block's output, zeros, or a `LocalGuess`."""
    cap: int = 0
    """Most sweeps (jacobi); pictures that are not done by then go on patch by patch."""
    seconds: float = 0.0
    """Time of one batch."""
    error: float = 0.0
    """Largest difference of the block's own result from the sequential one."""

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
        """Read a file that `save` wrote. Raises `BadInput` where there is none, or one of another format."""
        found = read_state(path)
        if found is None or found[1].get("format") != FORMAT:
            raise BadInput(f"{path} holds no decoder plan of this version; measure one with: intaglio flow calibrate")
        tensors, about = found
        guesses = {int(order): LocalGuess.of(tensors, order, tuple(grid)) for order, grid in about["fitted"].items()}
        return cls(
            about["key"],
            tuple(Choice(**choice) for choice in about["choices"]),
            guesses,
            about["seconds"],
            about["sequential_seconds"],
            about["largest"],
            about["mean"],
            tuple(about.get("gains", ())),
        )

    @classmethod
    def find(cls, folder: Path, key: Mapping[str, Any]) -> "DecoderPlan | None":
        """The plan for exactly this key, or None."""
        path = folder / file_name(key)
        return cls.read(path) if path.is_file() else None

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
