"""Automatic decoding: each block by what was measured to be fastest for it, here, at the error that is allowed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import Inverse
from intaglio.flow.family import BlockReport, Decoder, Seen
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import coarse_sweeps, guessed, sweep
from intaglio.flow.methods.frontier import FrontierDecoder
from intaglio.flow.methods.sequential import SequentialDecoder, one_by_one
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan, key_of
from intaglio.flow.plan.tiers import TIERS, TierName
from intaglio.models.flow.tarflow import MetaBlock, TarFlow

UNPLANNED: dict[str, float] = {"exact": 1e-4, "near": 1e-3}
"""The frontier's tolerance where nothing was measured, by tier."""


@dataclass(frozen=True, kw_only=True)
class AutoDecoder(Decoder):
    """Automatic decoding: each block [n, T, C] patch by patch, by sweeps, or by a frontier, as a measured plan says.

    Which of them is fastest is a matter of the block, the device and the batch: on a GPU sweeps cost little more than
    a single patch, on two cores with many pictures hardly anything beats patch by patch. `intaglio flow calibrate`
    times them all on this machine, chooses within the tier's error, and proves the whole on other latents; it also
    fits each block's first guess. Sweeps that do not settle within the time of going patch by patch go on that way.
    Without a plan for this model, device, batch and guidance it goes patch by patch on a CPU, and by the frontier
    elsewhere, with a warning.

    Source: this project, on arXiv 2412.06329 and 2505.24791.
    """

    tier: TierName = "near"
    """How close to sequential decoding, in [-1, 1]: near, 2/127.5 at most and 0.002 in the mean; exact, 0.001 and
    0.0001."""
    plans: Path = Path("runs/flow-plans")
    """Folder that `flow calibrate` writes its plans to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tier not in TIERS:
            raise ValueError(f"tier is one of {', '.join(TIERS)}, not {self.tier!r}")

    def prepared(self, model: TarFlow, pictures: int, guidance: Guidance, warn: Callable[[str], None]) -> Decoder:
        """With its plan; where there is none, what is fastest by far on most machines of the kind."""
        batch = min(self.batch, max(1, pictures))
        found = DecoderPlan.find(self.plans, key_of(model, batch, guidance, self.tier))
        if found is not None:
            return _PlannedDecoder(batch=self.batch, certify=self.certify, plan=found)
        told = f"no plan was measured for this model, machine and batches of {batch}, so "
        remedy = f"; measure one with: intaglio flow calibrate --batch {batch}"
        if model.device.type == "cpu":
            warn(f"{told}it goes patch by patch{remedy}")
            return SequentialDecoder(batch=self.batch, certify=self.certify)
        warn(f"{told}the frontier decodes{remedy}")
        return FrontierDecoder(batch=self.batch, certify=self.certify, tolerance=UNPLANNED[self.tier])

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """Patch by patch: only what `prepared` gives knows better."""
        return SequentialDecoder().decode_block(inverse, v, place, report, watch)


@dataclass(frozen=True, kw_only=True)
class _PlannedDecoder(Decoder):
    """Decoding by a plan that is at hand."""

    plan: DecoderPlan
    copies: dict[int, MetaBlock] = field(default_factory=dict, repr=False, compare=False)
    """Blocks in bfloat16, made when they are first needed; a plan is of one model."""

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        choice = self.plan.choices[place]
        report.method = choice.method
        return carry_out(choice, self.plan.guesses.get(place), inverse, v, report, watch, self.copies)


def carry_out(
    choice: Choice,
    guess: Callable[[Tensor], Tensor] | None,
    inverse: Inverse,
    v: Float[Tensor, "n t c"],
    report: BlockReport,
    watch: Seen,
    copies: dict[int, MetaBlock],
) -> Float[Tensor, "n t c"]:
    """Decode one block by a choice."""
    if choice.method == "sequential":
        u = v.clone()
        one_by_one(inverse, v, u, 0, inverse.cache(), watch)
        return u
    if choice.guess == "fitted" and guess is not None:
        block = inverse.block
        u = block.permuted(guess(block.permuted(v)))
        u[:, :1] = v[:, :1]
    else:
        u = guessed(v, "zeros" if choice.guess == "zeros" else "output")
    coarse_sweeps(inverse, v, u, choice.coarse_sweeps, report, watch, copies)
    if choice.method == "frontier":
        method = FrontierDecoder(tolerance=choice.tolerance, window=choice.window)
        method.refine(inverse, v, u, report, watch)
        return u
    stopping, cap = Stopping.of("change", choice.tolerance, v), min(choice.cap, inverse.tokens - 1)
    left = sweep(inverse, v, u, stopping, cap, report, watch)
    if len(left) and cap < inverse.tokens - 1:
        report.fallbacks.append(f"{len(left)} pictures went on patch by patch after {cap} sweeps")
        u[left] = _finished(inverse.rows(left), v[left], u[left], cap)
    return u


def _finished(inverse: Inverse, v: Tensor, u: Tensor, proven: int) -> Tensor:
    """Patch by patch from the last one that the sweeps proved; one pass stores what stands before it."""
    cache = inverse.cache()
    if proven:
        inverse.parameters(u[:, :proven], 0, cache)
    one_by_one(inverse, v, u, proven, cache, lambda u, final: None)  # a part of the batch is nothing to watch
    return u
