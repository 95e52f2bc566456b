"""One cell of the flow bench: all decoders on the same latents at one batch and one guidance, timed by turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import inverses
from intaglio.flow.calibrate.calibration import MARGIN, calibrate
from intaglio.flow.calibrate.ranking import ranked
from intaglio.flow.decoding import decode_batch
from intaglio.flow.family import BlockReport, Decoder
from intaglio.flow.methods.auto import UNPLANNED, _PlannedDecoder
from intaglio.flow.methods.frontier import FrontierDecoder
from intaglio.flow.methods.gs_jacobi import GSJacobiDecoder
from intaglio.flow.methods.jacobi import JacobiDecoder
from intaglio.flow.methods.reference_sequential import ReferenceSequentialDecoder
from intaglio.flow.methods.sejd import SelectiveJacobiDecoder
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.flow.plan.decoder_plan import DecoderPlan
from intaglio.flow.plan.tiers import TIERS, TierName, differences
from intaglio.flow.sampling import noise_of
from intaglio.models.flow.tarflow import TarFlow

TierOrPaper = Literal["exact", "near", "paper"]
TAUS = (0.5, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)
PAPER_TAU = 0.5
SEGMENTS, OTHER_SWEEPS = (4, 8, 16), (2, 3, 4, 5, 6, 8, 10, 14, 20)
PAPER_SEGMENTS, PAPER_OTHERS = 8, 10
"""Of GS-Jacobi, as published: the hardest block in eight segments, each swept to its end, ten sweeps elsewhere."""
JUDGED = 16
"""Pictures, at least, that errors are measured on, and that settings are chosen on."""
TUNED_ON, MEASURED_ON = 10_000_000, 0
"""Where the seeds of the latents begin that settings are chosen on, and that everything is measured on."""
FLOOR = "floor"
SLOW, FEW = 2.5, 3
DIRECTIONS = 128
"""Of the sliced Wasserstein distance."""


class Cell:
    """One batch and one guidance: the decoders, and what was measured of them."""

    def __init__(self, model: TarFlow, batch: int, guidance: Guidance, tiers: Sequence[TierOrPaper], seed: int):
        self._model, self._batch, self._guidance, self._tiers = model, batch, guidance, tiers
        self._noise = self._latents(MEASURED_ON + seed, batch)
        self._judged = self._latents(MEASURED_ON + seed, max(batch, JUDGED))
        self._tuning = self._latents(TUNED_ON + seed, max(batch, JUDGED))
        self._seed = seed

    def measured(self, repeats: int) -> dict[str, Any]:
        """Times, ratios, errors and certificates by decoder, and the numeric floor of the attention kernels."""
        decoders, plans = self._decoders()
        calls: dict[str, Callable[[], Any]] = {
            name: lambda decoder=decoder: self._decoded(decoder, self._noise) for name, decoder in decoders.items()
        }
        times = _by_turns({**calls, FLOOR: self._floor}, repeats, self._model)
        exact, _ = self._decoded(SequentialDecoder(), self._judged)
        with sdpa_kernel(SDPBackend.MATH):
            other, _ = self._decoded(SequentialDecoder(), self._judged)
        plain, floor = statistics.median(times["sequential"]), statistics.median(times[FLOOR])
        found = {name: self._figures(decoder, times[name], plain, floor, exact) for name, decoder in decoders.items()}
        return {
            "batch": self._batch,
            "guidance": self._guidance.scale,
            "decoders": found,
            "floor_seconds": floor,
            "numeric_floor": differences(other, exact)[0],
            "plans": {tier: str(plan) for tier, plan in plans.items()},
            "proxy": self._proxy(decoders, exact),
        }

    def _figures(
        self, decoder: Decoder, times: Sequence[float], plain: float, floor: float, exact: Tensor
    ) -> dict[str, Any]:
        patches, blocks = self._decoded(replace(decoder, certify=True), self._judged)
        largest, mean = differences(patches, exact)
        seconds = statistics.median(times)
        residuals = [block.residual for block in blocks if block.residual is not None]
        low, high = min(times), max(times)
        return {
            "timings": len(times),
            "seconds": seconds,
            "fastest": low,
            "slowest": high,
            "speedup": plain / seconds,
            "ratio_to_floor": seconds / floor,
            "largest": largest,
            "mean": mean,
            "forwards": sum(block.token_passes for block in blocks) / patches[..., 0].numel() / len(blocks),
            "residual": max(residuals, default=0.0),
            "round_trip": self._round_trip(patches),
            "settings": _settings(decoder),
            "blocks": [
                {
                    "block": block.block,
                    "method": block.method,
                    "passes": block.passes,
                    "token_passes": block.token_passes,
                    "seconds": block.seconds,
                    "fallbacks": block.fallbacks,
                }
                for block in blocks
            ],
        }

    def _decoders(self) -> tuple[dict[str, Decoder], dict[str, DecoderPlan]]:
        """All of them, those with settings at the largest that keep to each tier on the latents for that."""
        found: dict[str, Decoder] = {
            "sequential": SequentialDecoder(),
            "reference-sequential": ReferenceSequentialDecoder(),
        }
        plans: dict[str, DecoderPlan] = {}
        exact, _ = self._decoded(SequentialDecoder(), self._tuning)
        for tier in self._tiers:
            if tier == "paper":
                found |= {
                    "jacobi paper": JacobiDecoder(tau=PAPER_TAU, guess="zeros"),
                    "sejd paper": SelectiveJacobiDecoder(tau=PAPER_TAU),
                    "gs-jacobi paper": self._gs(PAPER_SEGMENTS, PAPER_OTHERS),
                }
                continue
            plans[tier] = calibrate(
                self._model, batch=self._batch, tier=tier, guidance=self._guidance, seed=TUNED_ON + self._seed
            )
            peers = {
                "jacobi": [[JacobiDecoder(tau=tau)] for tau in TAUS],
                "sejd": [[SelectiveJacobiDecoder(tau=tau)] for tau in TAUS],
                "gs-jacobi": [[self._gs(count, most) for count in SEGMENTS] for most in OTHER_SWEEPS],
            }
            for name, ladder in peers.items():
                if (chosen := self._fastest(ladder, tier, exact)) is not None:
                    found[f"{name} {tier}"] = chosen
            found[f"frontier {tier}"] = FrontierDecoder(tolerance=UNPLANNED[tier])
            found[f"auto {tier}"] = _PlannedDecoder(plan=plans[tier])
        return found, plans

    def _fastest(self, ladder: Sequence[Sequence[Decoder]], tier: TierName, exact: Tensor) -> Decoder | None:
        """The fastest on the first rung where any keeps to the tier, with the margin that plans are held to.

        Rungs go from loose to tight, and a tighter one is only slower. None where no rung does.
        """
        allowed = replace(TIERS[tier], largest=MARGIN * TIERS[tier].largest)
        for rung in ladder:
            kept = []
            for decoder in rung:
                began = time.perf_counter()
                patches, _ = self._decoded(decoder, self._tuning)
                if allowed.holds(patches, exact):
                    kept.append((time.perf_counter() - began, decoder))
            if kept:
                return min(kept, key=lambda of: of[0])[1]
        return None

    def _gs(self, segments: int, others: int) -> GSJacobiDecoder:
        return GSJacobiDecoder(
            hard_blocks=(self._hardest,), segments=(segments,), sweeps=(self._tokens,), other_sweeps=others, stale=True
        )

    @cached_property
    def _hardest(self) -> int:
        """By GS-Jacobi's own metric, on the model's own pictures."""
        pictures = self._model.pictures(self._decoded(SequentialDecoder(), self._tuning)[0])
        return ranked(self._model, pictures, None)[0].block

    @property
    def _tokens(self) -> int:
        return self._model.config.tokens

    def _latents(self, first: int, count: int) -> Tensor:
        noise = noise_of(self._model, range(first, first + count))
        return noise.to(self._model.device, self._model.working_dtype)

    def _decoded(self, decoder: Decoder, noise: Tensor) -> tuple[Tensor, list[BlockReport]]:
        """Decoded batch by batch, and the blocks' reports summed."""
        patches: list[Tensor] = []
        whole: list[BlockReport] = []
        for part in noise.split(self._batch):
            labels = _labels(self._model, len(part))
            hidden, blocks = decode_batch(decoder, self._model, part, labels, self._guidance)
            patches.append(hidden[-1])
            for known, block in zip(whole, blocks, strict=False):
                known.add(block)
            whole = whole or blocks
        return torch.cat(patches), whole

    def _floor(self) -> None:
        """One pass of every block over all patches: the least that any verified answer takes."""
        with torch.inference_mode():
            labels = _labels(self._model, self._batch)
            for block, inverse in inverses(self._model, self._batch, labels, self._guidance):
                inverse.parameters(block.permuted(self._noise))

    def _round_trip(self, patches: Tensor) -> float | None:
        """Max |f(x) - z|; None for guided pictures, of which it says nothing."""
        if self._guidance.acts(self._model.config.num_classes):
            return None
        with torch.inference_mode():
            pictures = self._model.pictures(patches).split(self._batch)
            again = torch.cat([self._model(part, _labels(self._model, len(part))).latents for part in pictures])
        return differences(again, self._judged)[0]

    def _proxy(self, decoders: Mapping[str, Decoder], exact: Tensor) -> dict[str, float]:
        """Sliced Wasserstein distances on pixels, a proxy for any of distributions: to other seeds' pictures, and to
        those of the same seeds decoded otherwise.
        """
        found = {"other seeds": sliced(exact, self._decoded(SequentialDecoder(), self._tuning)[0])}
        for name in ("auto near", "sejd near", "sejd paper"):
            if name in decoders:
                found[name] = sliced(exact, self._decoded(decoders[name], self._judged)[0])
        return found


def sliced(one: Tensor, two: Tensor) -> float:
    """Mean over directions of the root mean square between two sets' sorted projections; sets of one size."""
    source = torch.Generator().manual_seed(0)
    flat = [patches.flatten(1).double().cpu() for patches in (one, two)]
    directions = torch.randn(flat[0].shape[1], DIRECTIONS, generator=source, dtype=torch.float64)
    directions /= directions.norm(dim=0)
    ours, theirs = ((part @ directions).sort(0).values for part in flat)
    return float((ours - theirs).square().mean(0).sqrt().mean())


def _labels(model: TarFlow, batch: int) -> Tensor | None:
    classes = model.config.num_classes
    return (torch.arange(batch) % classes).to(model.device) if classes else None


def _settings(decoder: Decoder) -> dict[str, Any]:
    if isinstance(decoder, _PlannedDecoder):
        return {"plan": "measured"}
    return {key: value for key, value in asdict(decoder).items() if key not in ("batch", "certify")}


def _by_turns(calls: Mapping[str, Callable[[], Any]], repeats: int, model: TarFlow) -> dict[str, list[float]]:
    """Every call in turn, as often as asked, the order turned by one each time; a first round is not counted.

    What takes more than `SLOW` times as long as the first call is no contender, and is timed `FEW` times at most.
    """
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    warm: dict[str, float] = {}
    for turn in range(repeats + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if len(times[name]) >= FEW and warm[name] > SLOW * warm[names[0]]:
                continue
            _wait(model)
            began = time.perf_counter()
            calls[name]()
            _wait(model)
            if turn:
                times[name].append(time.perf_counter() - began)
            else:
                warm[name] = time.perf_counter() - began
    return times


def _wait(model: TarFlow) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
