"""Bias editors: the contract of a method that evens out the values of an attribute which prompts leave open."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int
from scipy.stats import chi2_contingency
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.bias.value_judge import ValueJudge
from intaglio.explain.site_walks import SiteWalks, Walk, forget_walks, recorded_walks
from intaglio.models.capabilities import Encodes, HasUNet, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.site_edit import SiteChange, SiteEdit
from intaglio.verbs import FileName


@dataclass(frozen=True, eq=False)
class FoundChange:
    """A change towards each value, with a control and what is known of both."""

    change: SiteChange
    control: SiteChange
    """The change, with what carries the values replaced by chance."""
    carriers: tuple[str, ...]
    """Carrier of each value, in words."""
    told: float = nan
    """Balanced accuracy by which the site's activations tell the values, of drawings that were left out, as a mean over
    steps; NaN: unknown."""
    left: float = nan
    """Share of the activations' variance that codes leave unexplained; NaN where there are no codes."""


@dataclass(frozen=True, eq=False)
class FoundEdit:
    """An edit with its control, and the samples that it was found in."""

    edit: SiteEdit
    control: SiteEdit
    carriers: tuple[str, ...]
    """Carrier of each value, in words."""
    counts: tuple[int, ...]
    """Sample drawings of each value."""
    told: float
    """As of `FoundChange`."""
    left: float
    """As of `FoundChange`."""
    size: float
    """Mean length of the edit over that of the activations."""
    control_size: float
    """The same of the control."""

    @property
    def both(self) -> tuple[SiteEdit, SiteEdit]:
        """Edit and control."""
        return self.edit, self.control


@dataclass(frozen=True, eq=False)
class Samples:
    """Sample drawings with their values."""

    walks: SiteWalks
    labels: Int[Tensor, "n"]
    """Place of each drawing's value."""
    values: tuple[str, ...]
    timesteps: tuple[int | float, ...]
    group: int
    """Neighbours, as many as this, that were drawn from one noise."""

    @property
    def contrasts(self) -> list[list[int]]:
        """Of each drawing those of other values: of the same noise where there are any, else all."""
        labels, found = self.labels.tolist(), []
        for row, label in enumerate(labels):
            first = row // self.group * self.group
            near = range(first, first + self.group) if self.group > 1 else range(len(labels))
            found.append([k for k in near if labels[k] != label])
        return found


@dataclass(frozen=True, kw_only=True)
class BiasEditor(ABC):
    """A way to find where a denoiser carries the values of an attribute, and to lead each picture to one of them.

    The value of a picture is drawn uniformly by its seed; at every step of the sampling the output of a site moves
    towards it, in the prediction for the prompt alone.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The edit in words, as the end of a sentence that begins "A picture is led by"."""
    by_chance: ClassVar[str]
    """The control in words, such as "random codes"."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasUNet)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    site: str = "mid_block"
    """Module of the denoiser whose output is edited, such as mid_block or up_blocks.0."""
    words: tuple[str, ...] = ()
    """A text for each value, in their order, which follows every prompt, such as ", noto style": samples are drawn with
    each, from the same noise. None: samples are of the prompts alone, and the classifier tells their values."""
    samples: int = 96
    """Pictures that are drawn to find the edit, at least 4; with `words` a multiple of their number."""
    steps: int = 20
    """Steps of DDIM, at least 1."""
    guidance: float = 1.0
    """Guidance scale of drawn pictures, 0 or more, 1 for none. An edit of the prompt's prediction is multiplied by it,
    and a scale above 1 breaks pictures sooner than it leads them."""
    batch: int = 8
    """Pictures drawn at once, at least 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of what is drawn, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(self.samples >= 4, f"samples must be at least 4, not {self.samples}")
        count = len(self.words)
        require(count != 1 and len(set(self.words)) == count, "words must be two different texts or more")
        even = not count or self.samples % count == 0
        require(even, f"samples must be a multiple of the {count} words, not {self.samples}")
        scale = self.guidance
        require(0 <= scale < float("inf"), f"guidance must be 0 or more, and finite, not {scale}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def found(self, samples: Samples, run: Run) -> FoundChange:
        """The change towards each value, of samples that have each one at least."""

    @property
    def walk(self) -> Walk:
        """The way that pictures are drawn."""
        return Walk(self.site, self.steps, self.guidance)

    def forget(self, run: Run) -> None:
        """Drops what a run kept to go on from; to be called once its result is safe."""
        forget_walks(run, self.samples)

    def check(self, model: LatentDiffusion, prompts: Sequence[str], judge: ValueJudge) -> None:
        """Raises `BadInput` for a model, a site, prompts or values that it cannot use."""
        check_needs(self, model)
        self.walk.check(model)
        if not prompts:
            raise BadInput("there is no prompt to draw; give --prompt one or more")
        if len(judge.values) < 2:
            raise BadInput("an attribute of one value is never uneven; give --values two or more")
        if self.words and len(self.words) != len(judge.values):
            raise BadInput(
                f"there are {len(self.words)} --words and {len(judge.values)} values; give a text for each value"
            )

    def __call__(
        self, model: LatentDiffusion, prompts: Sequence[str], judge: ValueJudge, *, run: Run = Run.none()
    ) -> FoundEdit:
        """The edit of drawings of some prompts.

        Args:
            model: left as it was found.
            prompts: one or more, which leave the attribute open; sample k has the k-th, from the first on again.
            judge: tells the values of drawn pictures.
            run: progress and states; a killed call goes on after the last batch.

        Raises:
            BadInput: as `check` does, and for a value that no sample has.
            IntaglioError: for numbers that are not finite.
        """
        self.check(model, prompts, judge)
        with torch.no_grad(), model.frozen():
            walks = recorded_walks(model, self._texts(prompts), self._seeds(), self.walk, batch=self.batch, run=run)
            labels = self._labels(model, walks, judge)
            samples = Samples(walks, labels, judge.values, tuple(self.walk.timesteps(model)), len(self.words) or 1)
            if not self.words and tied(labels, len(prompts)):
                run.warn(
                    "values go with the prompts of the samples, so that the edit may lead to what a prompt is of; give "
                    "--words, a text for each value, or one prompt"
                )
            found = self.found(samples, run)
        about = (self.site, judge.values, model.fingerprint)
        edit, control = (SiteEdit(*about, one, self.seed) for one in (found.change, found.control))
        sizes = [_size(one, samples) for one in (edit, control)]
        if not all(one < float("inf") for one in sizes):
            raise IntaglioError(f"{self.name} gives numbers that are not finite; lower --strength, or check the model")
        counts = tuple(torch.bincount(labels, minlength=len(judge.values)).tolist())
        return FoundEdit(edit, control, found.carriers, counts, found.told, found.left, *sizes)

    def _texts(self, prompts: Sequence[str]) -> list[str]:
        """The prompt of each sample; with words, neighbours have each of them."""
        own = self.words or ("",)
        return [f"{prompts[k // len(own) % len(prompts)]}{own[k % len(own)]}" for k in range(self.samples)]

    def _seeds(self) -> list[int]:
        """The seed of each sample; with words, neighbours have one."""
        return [seed_32bit(self.seed, "samples", k // max(len(self.words), 1)) for k in range(self.samples)]

    def _labels(self, model: LatentDiffusion, walks: SiteWalks, judge: ValueJudge) -> Int[Tensor, "n"]:
        """Place of each sample's value. Raises `BadInput` for a value that none has."""
        if self.words:
            return torch.arange(self.samples) % len(self.words)
        parts = walks.latents.split(self.batch)
        labels = torch.cat([judge.shares(model.decode(one.to(model.device)).cpu()).argmax(1).cpu() for one in parts])
        missing = [name for k, name in enumerate(judge.values) if not bool((labels == k).any())]
        if missing:
            raise BadInput(
                f"none of {self.samples} drawings is called {missing[0]}; draw more --samples, leave the value out, or "
                "give --words that ask for each value"
            )
        return labels


def tied(labels: Int[Tensor, "n"], prompts: int) -> bool:
    """Whether values depend on the prompt, of which sample k has the k-th in turn, by a chi-squared test at 1%."""
    table = np.zeros((prompts, int(labels.max()) + 1))
    for row, label in enumerate(labels.tolist()):
        table[row % prompts, label] += 1
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    return min(table.shape) > 1 and float(np.asarray(chi2_contingency(table)[1])) < 0.01


def _size(edit: SiteEdit, samples: Samples) -> float:
    """Mean length of an edit over that of the activations, of some samples at every step and towards every value."""
    some, found = samples.walks.values[:: max(1, len(samples.labels) // 8)], list[Tensor]()
    for step, t in enumerate(samples.timesteps):
        output = some[:, step]
        for value in range(len(edit.values)):
            moved = edit.change.change(output, torch.full((len(output),), value), t)
            found.append(moved.flatten(1).norm(dim=1) / output.flatten(1).norm(dim=1).clamp_min(1e-12))
    return float(torch.cat(found).mean())
