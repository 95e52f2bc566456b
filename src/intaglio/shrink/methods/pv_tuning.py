"""PV-Tuning: groups of weights as sums of codebook entries, with few codes changed in each step of a training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from intaglio.errors import require
from intaglio.learning.settings import CosineSettings, OptimizerSettings
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.codebook_entries import MOST_BOOKS
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.codebooks import decoded, fitted_books, nearest_codes
from intaglio.shrink.coded_weight import CodedWeight
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE, Healing
from intaglio.shrink.healing_settings import HealingSettings
from intaglio.shrink.layers import KEPT_BITS, WeightLayer, kept_apart, weight_layers
from intaglio.shrink.quantiser import kept_finer, stored
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.stored_sizes import sizes

SHARING = 2**20
"""Weights below which a layer shares its codebooks."""


@dataclass(frozen=True, kw_only=True)
class PVTuning(HealingSettings):
    """PV-Tuning: groups of weights as sums of codebook entries, of which few change in a step.

    Each `group` of consecutive weights of a row is α·(C_1[b_1] + ... + C_m[b_m]), with α of the row and m `books` of
    `entries` each, which layers of as many outputs and kernel places share, unless they have 2^20 weights or more.
    Books begin by k-means. In each step books, scales and all other weights are trained by AdamW, and an aim for each
    layer's weight by a step of the gradient over the root of its mean square, of norm `code_rate` times the aim's own;
    the `changed` share of groups that are furthest from the aim take the codes that a search with five beams finds
    nearest to it, and all others keep theirs. Layers whose columns `group` does not divide keep 8 bits.

    Source: arXiv 2405.14852; codes as in AQLM, arXiv 2401.06118.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"

    learning_rate: float = 3e-4
    """Highest learning rate of books, scales and other weights, above 0."""
    group: int = 8
    """Weights of a group, at least 1."""
    books: int = 2
    """Codebooks, 1 to 8: a weight takes books·log2(entries)/group bits, beside scales and books."""
    entries: int = 256
    """Entries of a codebook, a power of two from 2 to 256."""
    code_rate: float = 1e-2
    """Highest step of the aims, of their own norm, 0 or more; it falls as the learning rate does. 0: codes stay."""
    changed: float = 0.01
    """Share of each layer's groups whose codes are searched in a step, above 0, at most 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.group >= 1, f"group must be at least 1, not {self.group}")
        require(1 <= self.books <= MOST_BOOKS, f"books must be 1 to {MOST_BOOKS}, not {self.books}")
        power = self.entries & (self.entries - 1) == 0
        require(2 <= self.entries <= 256 and power, f"entries must be a power of two to 256, not {self.entries}")
        require(0 <= self.code_rate < float("inf"), f"code_rate must be 0 or more, and finite, not {self.code_rate}")
        require(0 < self.changed <= 1, f"changed must be above 0, and at most 1, not {self.changed}")

    @property
    def optimiser(self) -> OptimizerSettings:
        """Settings of AdamW, with moments of decay 0.9 and 0.95. Raises `ValueError` for wrong ones."""
        rate = self.learning_rate
        return CosineSettings(steps=self.steps, learning_rate=rate, weight_decay=0.0, ema=self.ema, betas=(0.9, 0.95))

    def book_of(self, layer: WeightLayer) -> str | None:
        """Name of a layer's codebooks; None for a layer that keeps 8 bits."""
        if kept_apart(layer, self.keep) or layer.columns % self.group:
            return None
        if layer.rows * layer.columns >= SHARING:
            return layer.name
        return f"{layer.rows}x{prod(layer.shape[2:])}"

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and rows through the network in the training."""
        each = self.books * (self.entries.bit_length() - 1) / self.group

        def bits(layer: WeightLayer) -> float:
            return (KEPT_BITS if self.book_of(layer) is None else each) + 16 / layer.columns

        before, after = sizes(model, self.parts, bits)
        names = {self.book_of(layer) for layer in weight_layers(model)} - {None}
        after += len(names) * 2 * self.books * self.entries * self.group
        return ShrinkPlan(before, after, self.training_rows(rows))

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The smaller model; errors as of `Shrinker`, and `IntaglioError` for a loss that is not finite."""
        self.check(model, base)
        rows, student = self.learned(model, calibration), model.copy()
        layers, weights = weight_layers(student), dict(student.denoiser.named_parameters())
        books = self._books(layers)
        coded = {layer.name: self._coded(layer, books) for layer in layers if self.book_of(layer) is not None}
        for name, one in coded.items():
            del weights[name]
            weights[f"{name}/scales"] = one.scales
        weights |= {f"books/{name}": book for name, book in books.items()}
        kept = {f"{name}/{key}": tensor for name, one in coded.items() for key, tensor in one.kept.items()}
        recode = partial(self._recode, coded)
        figures = Healing(model, student, rows, self, weights, after_backward=recode, kept=kept)(run)
        packed = {}
        for layer in layers:
            name = self.book_of(layer)
            term = kept_finer(layer) if name is None else coded[layer.name].term(name)
            packed[layer.name] = PackedWeight(layer.shape, (term,))
        for one in coded.values():
            one.remove()
        found = shrunk(model, {"denoiser": packed}, self.packing(model), healed=student)
        return replace(found, states=(STATE,), facts={"healing": figures})

    def _recode(self, coded: Mapping[str, CodedWeight], step: int) -> dict[str, int]:
        """Changes codes, and tells of how many groups."""
        if not self.code_rate:
            return {}
        rate = self.code_rate * self.optimiser.rate(step) / self.learning_rate
        return {"recoded": sum(one.recode(rate, self.changed) for one in coded.values())}

    def _books(self, layers: list[WeightLayer]) -> dict[str, nn.Parameter]:
        """The codebooks by their names, fitted to the groups of the layers that hold them."""
        groups = dict[str, list[Tensor]]()
        for layer in layers:
            if (name := self.book_of(layer)) is not None:
                groups.setdefault(name, []).append(self._groups(layer.matrix))
        found = {}
        for name, parts in groups.items():
            books = fitted_books(torch.cat(parts), self.books, self.entries, generator(self.seed, "codebooks", name))
            found[name] = nn.Parameter(books.half().float().to(layers[0].module.weight.device))
        return found

    def _groups(self, weight: Tensor) -> Tensor:
        """The groups of a weight's rows, each row over its root mean square."""
        return (weight / stored(weight.square().mean(1).sqrt()).float()[:, None]).view(-1, self.group)

    def _coded(self, layer: WeightLayer, books: Mapping[str, nn.Parameter]) -> CodedWeight:
        """The layer with its nearest codes, and the scales of least squared error for them."""
        book, weight, groups = books[str(self.book_of(layer))], layer.matrix, self._groups(layer.matrix)
        held = book.detach().cpu()
        codes = nearest_codes(groups, held, torch.zeros(self.books, len(groups), dtype=torch.uint8))
        sums = decoded(codes, held).view_as(weight)
        scales = (weight * sums).sum(1) / sums.square().sum(1).clamp(min=1e-12)
        return CodedWeight(layer.module, book, codes.view(self.books, layer.rows, -1), scales)
