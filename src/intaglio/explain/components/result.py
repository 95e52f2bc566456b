"""The result of patching: the effect of each component on the way from one prompt's prediction to another's.

`patching.safetensors` in the run's folder has the effects of every draw and their checks, and in its metadata a note of
the rest; `patching.csv` has a line a component, the largest effect first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata, t
from torch import Tensor

from intaglio.explain.components.denoiser_branches import DenoiserBranch
from intaglio.explain.components.exact_checks import CheckedComponents, ExactChecks
from intaglio.metrics.statistics.interval import Interval, interval
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "patching.safetensors", "patching.csv"
COLUMNS = ["component", "kind", "channel", "effect", "low", "high", "exact"]
LEVEL = 0.95
"""Coverage of intervals."""
RESAMPLES_AT_ONCE = 100


@dataclass(frozen=True)
class PatchingAgreement:
    """PatchingAgreement of estimates with exact effects, over the checked components."""

    pearson: float
    interval: Interval
    """Of Pearson's correlation, of 95%, by resampling draws."""
    spearman: float


@dataclass(frozen=True, eq=False)
class PatchedComponents(StoredTable):
    """Effects of components by one method, for one pair of prompts."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command patches again"

    method: str
    reading: str
    exact: bool
    """Whether the effects are measured, not estimated."""
    clean: str
    corrupted: str
    branches: tuple[DenoiserBranch, ...]
    sizes: tuple[int, ...]
    """Components of each branch: its channels, or 1."""
    seeds: tuple[int, ...]
    """Of the draws."""
    timesteps: tuple[int, ...]
    distances: tuple[float, ...]
    """Of each draw, the length of the difference of both predictions, as a share of that of one."""
    passes: int
    """Rows through the denoiser and back for each draw."""
    effects: Float[Tensor, "d m"]
    """At each draw, 1 for a component that leads all the way to the clean prompt's prediction."""
    checks: ExactChecks | None
    """None where nothing was checked."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Components by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @cached_property
    def means(self) -> Float[ndarray, "m"]:
        """Mean effects over draws."""
        return self.effects.double().mean(0).numpy()

    @cached_property
    def margins(self) -> Float[ndarray, "m"]:
        """Half widths of the means' 95% intervals by Student's t; infinite for one draw."""
        count = len(self.effects)
        if count == 1:
            return np.full(self.effects.shape[1], np.inf)
        return float(t.ppf((1 + LEVEL) / 2, count - 1)) * self.effects.double().std(0).numpy() / count**0.5

    @cached_property
    def agreement(self) -> PatchingAgreement | None:
        """PatchingAgreement with the exact effects, of means over draws; None where fewer than three were checked."""
        if self.checks is None or len(self.checks.chosen.numbers) < 3:
            return None
        own = self.effects[:, self.checks.chosen.numbers].double().numpy()
        exact = self.checks.exact.double().numpy()

        def pearson(draws: ndarray) -> ndarray:
            return correlations(own[draws].mean(1), exact[draws].mean(1))

        every = np.arange(len(own))
        bounds = interval(pearson, [every], batch=RESAMPLES_AT_ONCE, level=LEVEL)
        ranks = correlations(*(rankdata(one.mean(0))[None] for one in (own, exact)))
        return PatchingAgreement(float(pearson(every[None])[0]), bounds, float(ranks[0]))

    @property
    def exact_passes(self) -> int:
        """Rows through the denoiser that measuring every component would take for each draw."""
        return 2 + sum(self.sizes)

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        first = self.rows()[0]
        told = (
            f"Of {sum(self.sizes):,} components the largest effect on the way to “{self.clean}” is that of "
            f"{first['component']}, {first['effect']:.3f}"
        )
        if (found := self.agreement) is None:
            return f"{told}; {'it is measured' if self.exact else 'none was checked by exact patching'}."
        low, high = found.interval
        return (
            f"{told}; over {len(self._checked)} components patched exactly, estimates agree with Pearson's correlation "
            f"{found.pearson:.2f} ({low:.2f} to {high:.2f})."
        )

    @cached_property
    def _checked(self) -> dict[int, float]:
        """Exact mean effects by component."""
        if self.checks is None:
            return {}
        return dict(zip(self.checks.chosen.numbers.tolist(), self.checks.exact.mean(0).tolist(), strict=True))

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a component, the largest effect first; the keys are `COLUMNS`.

        `low` and `high` are of the 95% interval over draws, None for one draw; `exact` is None where it was not
        patched.
        """
        branch_of = np.repeat(np.arange(len(self.sizes)), self.sizes)
        firsts = np.cumsum([0, *self.sizes])
        bounded = len(self.effects) > 1
        rows = []
        for number in np.argsort(-np.abs(self.means), kind="stable").tolist():
            place = int(branch_of[number])
            branch, channel = self.branches[place], number - int(firsts[place])
            whole, mean, margin = self.sizes[place] == 1, float(self.means[number]), float(self.margins[number])
            rows.append(
                {
                    "component": branch.site if whole else f"{branch.site} {channel}",
                    "kind": branch.kind,
                    "channel": None if whole else channel,
                    "effect": mean,
                    "low": mean - margin if bounded else None,
                    "high": mean + margin if bounded else None,
                    "exact": mean if self.exact else self._checked.get(number),
                }
            )
        return rows

    def branch_rows(self) -> list[dict[str, Any]]:
        """One mapping a branch, in the order of the network: its kind, and the sum and size of its effects."""
        parts = np.split(self.means, np.cumsum(self.sizes)[:-1])
        return [
            {"branch": one.site, "kind": one.kind, "sum": float(part.sum()), "size": float(np.abs(part).sum())}
            for one, part in zip(self.branches, parts, strict=True)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, passes, the predictions' distance, and the agreement where it was checked."""
        found = self.agreement
        joint = [None, None] if self.checks is None else _numbers(self.checks.joint.mean(0))
        return {
            "components": sum(self.sizes),
            "draws": len(self.effects),
            "distance": float(np.mean(self.distances)),
            "passes": self.passes,
            "exact_passes": self.exact_passes,
            "checked": len(self._checked),
            "pearson": None if found is None else found.pearson,
            "pearson_low": None if found is None else found.interval[0],
            "pearson_high": None if found is None else found.interval[1],
            "spearman": None if found is None else found.spearman,
            "top_together": joint[0],
            "others_together": joint[1],
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {name: getattr(self, name) for name in ("method", "reading", "exact", "clean", "corrupted", "passes")}
        about |= {name: list(getattr(self, name)) for name in ("sizes", "seeds", "timesteps", "distances")}
        about |= {"sites": [one.site for one in self.branches], "kinds": [one.kind for one in self.branches]}
        tensors = {"effects": self.effects}
        if self.checks is not None:
            tensors |= {"checked": self.checks.chosen.numbers, "exact": self.checks.exact, "joint": self.checks.joint}
            about["top"] = self.checks.chosen.top
        return tensors, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "PatchedComponents":
        branches = tuple(DenoiserBranch(*pair) for pair in zip(about["sites"], about["kinds"], strict=True))
        sizes, seeds, timesteps = (tuple(map(int, about[name])) for name in ("sizes", "seeds", "timesteps"))
        distances, effects = tuple(map(float, about["distances"])), tensors["effects"]
        if effects.shape != (len(seeds), sum(sizes)) or not sum(sizes) or len(sizes) != len(branches):
            raise ValueError("effects do not fit the components")
        checks = None
        if "checked" in tensors:
            numbers, exact = tensors["checked"], tensors["exact"]
            if exact.shape != (len(seeds), len(numbers)) or bool((numbers < 0).any() | (numbers >= sum(sizes)).any()):
                raise ValueError("checks do not fit the components")
            checks = ExactChecks(CheckedComponents(numbers, int(about["top"])), exact, tensors["joint"])
        method, reading, clean, corrupted = (str(about[name]) for name in ("method", "reading", "clean", "corrupted"))
        places = (branches, sizes, seeds, timesteps, distances, int(about["passes"]), effects, checks)
        return cls(method, reading, bool(about["exact"]), clean, corrupted, *places)


def correlations(one: Float[ndarray, "b q"], other: Float[ndarray, "b q"]) -> Float[ndarray, "b"]:
    """Pearson's correlation of each pair of rows; 0 where a row is flat."""
    ways = [values - values.mean(1, keepdims=True) for values in (one, other)]
    lengths = np.linalg.norm(ways[0], axis=1) * np.linalg.norm(ways[1], axis=1)
    return np.divide((ways[0] * ways[1]).sum(1), lengths, out=np.zeros(len(one)), where=lengths > 0)


def _numbers(values: Tensor) -> list[float | None]:
    """Values as JSON holds them: None for NaN."""
    return [None if bool(torch.isnan(one)) else float(one) for one in values]
