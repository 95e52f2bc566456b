"""Sampling methods that are fitted before they draw: a fit is made by calls of the model, kept in a file and read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.sampling_batch import SamplingBatch

Batches = Callable[[Sequence[str], Sequence[int]], SamplingBatch]
"""(n prompts, n seeds) to a batch that is drawn as the pictures will be."""


@runtime_checkable
class MethodFit(Protocol):
    """The fitted part of a method."""

    def save(self, path: Path) -> None:
        """Writes a file that the method reads again."""
        ...


@dataclass(frozen=True, kw_only=True)
class FittedSampling(SamplingMethod, ABC):
    """A method with a part that is fitted to the model, before the pictures and whatever their prompts."""

    @abstractmethod
    def fit_hash(self, request: SamplingRequest) -> str | None:
        """64 hex digits that change with all that the fit depends on; None where these settings need no fit."""

    @abstractmethod
    def planned_fit(self, request: SamplingRequest) -> Calls:
        """Calls of networks of the fit."""

    @abstractmethod
    def fit(self, request: SamplingRequest, batches: Batches) -> MethodFit:
        """The fit, the same whenever it is made; its calls are counted by the batches."""

    @abstractmethod
    def read_fit(self, path: Path, request: SamplingRequest) -> MethodFit:
        """The fit in a file. Raises `BadInput` for a file of another fit."""
