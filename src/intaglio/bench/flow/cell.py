"""One cell of the flow bench: all decoders on the same latents at one batch and one guidance."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pkgutil import resolve_name
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from intaglio.bench.flow.turns import by_turns
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.calibrate.calibration import MARGIN, calibrate
from intaglio.flow.decoding import Decoding, decode_batch
from intaglio.flow.family import Decoder
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.flow.plan.decoder_plan import DecoderPlan
from intaglio.flow.plan.planned_decoder import PlannedDecoder
from intaglio.flow.results import BlockReport
from intaglio.flow.sampling import noise_of
from intaglio.flow.tiers import TIERS, Tier, TierName, differences
from intaglio.models.flow.tarflow import TarFlow
from intaglio.verbs import VERBS

TierOrPaper = Literal["exact", "near", "paper"]
JUDGED = 16
"""Pictures, at least, that errors are measured on, and that settings are chosen on."""
TUNED_ON, MEASURED_ON = 10_000_000, 0
"""First seeds of the latents that settings are chosen on, and of those that everything is measured on."""
SEQUENTIAL, FLOOR = SequentialDecoder.name, "floor"
"""The decoder that all are compared with, and the name of the floor beside the decoders."""
DIRECTIONS = 128
"""Random projections of the sliced Wasserstein distance."""


class FlowCell:
    """The decoders at one batch and one guidance, and the figures measured of them."""

    def __init__(self, model: TarFlow, batch: int, guidance: Guidance, tiers: Sequence[TierOrPaper], seed: int):
        self._model, self._batch, self._guidance, self._tiers, self._seed = model, batch, guidance, tiers, seed
        self._timed = self._latents(MEASURED_ON + seed, batch)
        self._judged = self._latents(MEASURED_ON + seed, max(batch, JUDGED))
        self._tuning = self._latents(TUNED_ON + seed, max(batch, JUDGED))
        self._calibration_seconds: dict[str, float] = {}

    def measured(self, repeats: int) -> dict[str, Any]:
        """Times, ratios, errors and certificates by decoder, and the numeric floor of the attention kernels."""
        plans: dict[str, DecoderPlan] = {}
        decoders = self._decoders(plans)
        calls: dict[str, Callable[[], Any]] = {
            name: lambda decoder=decoder: self._decoded(decoder, self._timed) for name, decoder in decoders.items()
        }
        times = by_turns({**calls, FLOOR: self._floor}, repeats, SEQUENTIAL, self._model.device)
        exact, _ = self._decoded(SequentialDecoder(), self._judged)
        with sdpa_kernel(SDPBackend.MATH):
            by_another_kernel, _ = self._decoded(SequentialDecoder(), self._judged)
        figures: dict[str, dict[str, Any]] = {}
        proxy = {"other seeds": sliced(exact, self._exact_tuning)}
        for name, decoder in decoders.items():
            patches, blocks = self._decoded(replace(decoder, certify=True), self._judged)
            figures[name] = {
                **_speed(times[name], times[SEQUENTIAL], times[FLOOR]),
                **self._accuracy(patches, blocks, exact),
                "settings": _settings(decoder),
                "blocks": [_of_block(block) for block in blocks],
            }
            proxy[name] = sliced(exact, patches)
        return {
            "batch": self._batch,
            "guidance": self._guidance.scale,
            "decoders": figures,
            "floor_seconds": statistics.median(times[FLOOR]),
            "numeric_floor": differences(by_another_kernel, exact)[0],
            "plans": {tier: str(plan) for tier, plan in plans.items()},
            "calibration_seconds": dict(self._calibration_seconds),
            "proxy": proxy,
        }

    def _accuracy(self, patches: Tensor, blocks: Sequence[BlockReport], exact: Tensor) -> dict[str, Any]:
        largest, mean = differences(patches, exact)
        residuals = [block.residual for block in blocks if block.residual is not None]
        return {
            "largest": largest,
            "mean": mean,
            "forwards": sum(block.token_passes for block in blocks) / patches[..., 0].numel() / len(blocks),
            "residual": max(residuals, default=0.0),
            "round_trip": self._round_trip(patches),
        }

    def _decoders(self, plans: dict[str, DecoderPlan]) -> dict[str, Decoder]:
        """Every decoder of the literature, by its name and tier; baselines by their name alone.

        Settings are chosen for each tier on the tuning latents; `paper` is the published ones. `plans` takes the
        plans that were measured.
        """
        kinds: dict[str, type[Decoder]] = {
            name: resolve_name(method.target) for name, method in VERBS["flow sample"].methods.items()
        }
        baselines = {name: kind() for name, kind in kinds.items() if kind.role == "baseline"}
        fits = {
            name: kind.fit(self._model, self._model.pictures(self._exact_tuning))
            for name, kind in kinds.items()
            if name not in baselines
        }
        found: dict[str, Decoder] = {SEQUENTIAL: baselines[SEQUENTIAL], **baselines}
        for tier in self._tiers:
            for name in fits:
                decoder = self._chosen(kinds[name], fits[name], tier, plans)
                if decoder is not None:
                    found[f"{name} {tier}"] = decoder
        return found

    def _chosen(
        self, kind: type[Decoder], fit: Mapping[str, Any], tier: TierOrPaper, plans: dict[str, DecoderPlan]
    ) -> Decoder | None:
        """A method with the settings for a tier; None where it has none that keep to it, or none that are published.

        `fit` are the settings that were measured of the model.
        """
        if tier == "paper":
            published = kind.published()
            return published and replace(published, **fit)
        if kind.planned:
            began = time.perf_counter()
            plans[tier] = calibrate(
                self._model, batch=self._batch, tier=tier, guidance=self._guidance, seed=TUNED_ON + self._seed
            )
            self._calibration_seconds[tier] = time.perf_counter() - began
            return PlannedDecoder(plan=plans[tier])
        rungs = [[replace(candidate, **fit) for candidate in rung] for rung in kind.candidates(tier)]
        return rungs[0][0] if len(rungs) == len(rungs[0]) == 1 else self._fastest(rungs, tier)

    def _fastest(self, rungs: Sequence[Sequence[Decoder]], tier: TierName) -> Decoder | None:
        """The fastest on the first rung where any keeps to the tier, with the margin that plans are held to.

        Rungs go from loose to tight, and a tighter one is only slower. None where no rung does.
        """
        allowed = replace(TIERS[tier], largest=MARGIN * TIERS[tier].largest)
        for rung in rungs:
            timed = [(seconds, one) for one in rung if (seconds := self._seconds_within(one, allowed)) is not None]
            if timed:
                return min(timed, key=lambda pair: pair[0])[1]
        return None

    def _seconds_within(self, decoder: Decoder, allowed: Tier) -> float | None:
        """The time of all tuning latents; None as soon as a batch of them is too far from its sequential pictures."""
        began, parts = time.perf_counter(), []
        for batch, exact in zip(self._tuning.batches(self._batch), self._exact_tuning.split(self._batch), strict=True):
            parts.append(decode_batch(decoder, batch)[0][-1])
            if differences(parts[-1], exact)[0] > allowed.largest:
                return None
        seconds = time.perf_counter() - began
        return seconds if allowed.holds(torch.cat(parts), self._exact_tuning) else None

    @cached_property
    def _exact_tuning(self) -> Tensor:
        return self._decoded(SequentialDecoder(), self._tuning)[0]

    def _latents(self, first_seed: int, count: int) -> Decoding:
        """Latents of consecutive seeds; labels, where the model has classes, in turns from each batch's first."""
        model = self._model
        noise = noise_of(model, range(first_seed, first_seed + count)).to(model.device, model.working_dtype)
        classes = model.config.num_classes
        labels = (torch.arange(count) % self._batch % classes).to(model.device) if classes else None
        return Decoding(model, noise, labels, self._guidance)

    def _decoded(self, decoder: Decoder, latents: Decoding) -> tuple[Tensor, list[BlockReport]]:
        """Decoded batch by batch, and the blocks' reports summed."""
        patches: list[Tensor] = []
        whole: list[BlockReport] = []
        for batch in latents.batches(self._batch):
            hidden, blocks = decode_batch(decoder, batch)
            patches.append(hidden[-1])
            for known, block in zip(whole, blocks, strict=False):
                known.add(block)
            whole = whole or blocks
        return torch.cat(patches), whole

    def _floor(self) -> None:
        """One pass of every block over all patches: the least that any verified answer takes."""
        with torch.inference_mode():
            for inverse in self._timed.inverses():
                inverse.parameters(inverse.block.permuted(self._timed.noise))

    def _round_trip(self, patches: Tensor) -> float | None:
        """Max |f(x) - z|; None for guided pictures, of which it says nothing."""
        if self._guidance.acts(self._model.config.num_classes):
            return None
        with torch.inference_mode():
            parts = zip(self._judged.batches(self._batch), patches.split(self._batch), strict=True)
            again = torch.cat([self._model(self._model.pictures(part), batch.labels).latents for batch, part in parts])
        return differences(again, self._judged.noise)[0]


def sliced(one: Tensor, two: Tensor) -> float:
    """Sliced Wasserstein-2 distance of two equally large sets of patches [n, T, C], on pixels.

    The mean over random directions of the root mean square between the sorted projections: a proxy for any distance
    of distributions.
    """
    source = torch.Generator().manual_seed(0)
    flat_one, flat_two = (patches.flatten(1).double().cpu() for patches in (one, two))
    directions = torch.randn(flat_one.shape[1], DIRECTIONS, generator=source, dtype=torch.float64)
    directions /= directions.norm(dim=0)
    sorted_one, sorted_two = ((part @ directions).sort(0).values for part in (flat_one, flat_two))
    return float((sorted_one - sorted_two).square().mean(0).sqrt().mean())


def _speed(times: Sequence[float], sequential: Sequence[float], floor: Sequence[float]) -> dict[str, Any]:
    """Seconds a batch, the median ratio to sequential decoding within a turn, and that of medians to the floor."""
    seconds = statistics.median(times)
    return {
        "timings": len(times),
        "seconds": seconds,
        "fastest": min(times),
        "slowest": max(times),
        "speedup": statistics.median(other / one for one, other in zip(times, sequential, strict=False)),
        "ratio_to_floor": seconds / statistics.median(floor),
    }


def _of_block(block: BlockReport) -> dict[str, Any]:
    kept = ("block", "method", "passes", "token_passes", "seconds", "fallbacks")
    return {key: getattr(block, key) for key in kept}


def _settings(decoder: Decoder) -> dict[str, Any]:
    if isinstance(decoder, PlannedDecoder):
        return {"plan": "measured"}
    return {key: value for key, value in asdict(decoder).items() if key not in ("batch", "certify")}
