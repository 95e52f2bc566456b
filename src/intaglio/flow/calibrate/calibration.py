"""Calibration of `auto`: measure how each block decodes fastest here, and choose what together is exact enough."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.calibrate.block_timings import SampledBlock, growth, options
from intaglio.flow.calibrate.error_budget import allocate
from intaglio.flow.calibrate.paired import gains, median_gain, paired_seconds, seconds_of, sure_gain
from intaglio.flow.decoding import Decoding, decode_batch
from intaglio.flow.iterate.one_by_one import sequential
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan, key_of, loosest
from intaglio.flow.plan.guess import LocalGuess
from intaglio.flow.plan.planned_decoder import PlannedDecoder
from intaglio.flow.tiers import TIERS, TierName, differences
from intaglio.models.flow.tarflow import TarFlow
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run

FITTED, JUDGED, PROVED = 64, 24, 48
"""Pictures, at least, that first guesses are fitted on, that errors are measured on, and that a plan is proved on."""
DIRECTIONS, PERTURBATION, PERTURBED = 3, 1e-3, 8
"""Random perturbations that give the growth of a block's error: their number, their relative size, their pictures."""
SHARES = (4.0, 2.8, 2.0, 1.4, 1.0, 0.7, 0.5, 0.25, 0.1)
"""Multiples of the allowed error that are allocated to the blocks, until the whole is exact enough: above 1 too, as the
largest errors of blocks rarely meet."""
MARGIN = 0.7
"""Share of the tier that a plan must keep to where it is chosen, so that it keeps to the tier elsewhere."""
TURNS = 9
"""Timings of the plan and of sequential decoding, by turns."""
AT_ONCE = 16
"""Pictures, at least, that are decoded together where time is not measured."""
GAIN = 1.03
"""Least ratio of the sequential time to that of a plan, at the lower bound of its median, for the plan to be taken."""


def calibrate(
    model: TarFlow,
    *,
    batch: int,
    tier: TierName = "near",
    guidance: Guidance = UNGUIDED,
    seed: int = 0,
    run: Run = Run.none(),
) -> DecoderPlan:
    """A plan for batches of this size on this machine, which should be as idle as it will be when the plan is used.

    Latents are drawn by `seed`; labels, where the model has classes, in turns. First guesses are fitted on
    sequentially decoded pictures, errors are measured on others, and the chosen whole is proved on a third draw; where
    it is not within the tier there, less error is allocated, at last none. Raises `BadInput` for a batch below 1.
    """
    if batch < 1:
        raise BadInput(f"a plan is for batches of at least 1 picture, not {batch}")
    empty = DecoderPlan(key_of(model, batch, guidance, tier), ())
    source = Decoding(model, torch.empty(0, model.config.tokens, model.config.token_width), guidance=guidance)
    count = model.config.num_blocks
    with torch.inference_mode(), run.progress(count + 2, "calibrate") as progress:
        fitted = _sequential(_drawn(source, batch, seed, "fit", FITTED))
        progress.advance()
        judged = _drawn(source, batch, seed, "errors", JUDGED)
        blocks = _sampled_blocks(fitted, judged)
        choices = []
        for block in blocks:
            found = options(block, TIERS[tier].largest / (count * block.growth))
            choices.append([replace(choice, tolerance=min(choice.tolerance, loosest(tier))) for choice in found])
            progress.advance()
        proof = _drawn(source, batch, seed, "proof", PROVED)
        plan = _proved(empty, blocks, choices, judged, proof)
        progress.advance()
    return plan


def _drawn(source: Decoding, batch: int, seed: int, stream: str, pictures: int) -> list[Decoding]:
    """Batches of latents and labels, of so many pictures at least."""
    return [_batch(source, batch, seed, stream, index) for index in range(math.ceil(pictures / batch))]


def _batch(source: Decoding, batch: int, seed: int, stream: str, index: int) -> Decoding:
    model = source.model
    shape = (batch, model.config.tokens, model.config.token_width)
    noise = torch.randn(shape, generator=generator_32bit(seed, stream, index)).to(model.device, model.working_dtype)
    classes = model.config.num_classes
    labels = ((index * batch + torch.arange(batch)) % classes).to(model.device) if classes else None
    return replace(source, noise=noise, labels=labels)


def _whole(batches: Sequence[Decoding]) -> Decoding:
    """All batches as one."""
    labels = [batch.labels for batch in batches if batch.labels is not None]
    noise = torch.cat([batch.noise for batch in batches])
    return replace(batches[0], noise=noise, labels=torch.cat(labels) if labels else None)


def _sequential(batches: Sequence[Decoding]) -> list[Tensor]:
    """h_K to h_0 of all batches joined; in sequential decoding the size of a batch changes nothing but the time."""
    parts = [
        decode_batch(SequentialDecoder(), part)[0] for part in _whole(batches).batches(max(AT_ONCE, len(batches[0])))
    ]
    return [torch.cat(states) for states in zip(*parts, strict=True)]


def _sampled_blocks(fitted: Sequence[Tensor], batches: Sequence[Decoding]) -> list[SampledBlock]:
    """The blocks in the order of decoding, each with its sequential answers, its fitted guess and its growth."""
    exact, whole = _sequential(batches), _whole(batches)
    inverses, few = whole.inverses(), whole.rows(slice(PERTURBED)).inverses()
    grid = whole.model.config.grid
    return [
        SampledBlock(
            inverse,
            inverse.block.permuted(exact[order]),
            inverse.block.permuted(exact[order + 1]),
            len(batches[0]),
            LocalGuess.fit(fitted[order], fitted[order + 1], grid),
            _growth(exact[order + 1][:PERTURBED], few[order + 1 :]),
        )
        for order, inverse in enumerate(inverses)
    ]


def _growth(h: Tensor, rest: Sequence[BlockInverse]) -> float:
    """The factor by which a small change of a block's result grows in the rest of the model."""
    if not rest:
        return 1.0
    result, worst = _through(rest, h), 0.0
    for direction in range(DIRECTIONS):
        random = torch.randn(h.shape, generator=generator_32bit(direction, "nudge")).to(h)
        perturbation = random * PERTURBATION * h.square().mean().sqrt()
        worst = max(worst, growth(result, _through(rest, h + perturbation), perturbation))
    return worst


def _through(rest: Sequence[BlockInverse], h: Tensor) -> Tensor:
    for inverse in rest:
        h = inverse.block.permuted(sequential(inverse, inverse.block.permuted(h), lambda u, final: None))
    return h


def _proved(
    empty: DecoderPlan,
    blocks: Sequence[SampledBlock],
    choices: Sequence[Sequence[Choice]],
    judged: Sequence[Decoding],
    proof: Sequence[Decoding],
) -> DecoderPlan:
    """The fastest plan that keeps well within the tier on `judged`, where errors were measured, and to it on `proof`.

    `empty` is the plan without choices; `choices` are those of each block, sequential decoding first.
    """
    tier = TIERS[empty.key["tier"]]
    exact_judged, exact_proof = (_sequential(batches)[-1] for batches in (judged, proof))
    sequential_plan = replace(empty, choices=tuple(of_block[0] for of_block in choices))
    for share in SHARES:
        chosen = allocate(choices, [block.growth for block in blocks], share * tier.largest)
        guesses = {order: blocks[order].guess for order, choice in enumerate(chosen) if choice.guess == "fitted"}
        plan = replace(empty, choices=chosen, guesses=guesses)
        if not replace(tier, largest=MARGIN * tier.largest).holds(_decoded(plan, judged), exact_judged):
            continue
        found = _decoded(plan, proof)
        if tier.holds(found, exact_proof):
            largest, mean = differences(found, exact_proof)
            return _faster(replace(plan, largest=largest, mean=mean), sequential_plan, proof[0])
    return _faster(sequential_plan, sequential_plan, proof[0])


def _faster(plan: DecoderPlan, sequential_plan: DecoderPlan, batch: Decoding) -> DecoderPlan:
    """The plan with its times beside the sequential one's; the sequential one where no gain is sure."""

    def decoded(one: DecoderPlan) -> Callable[[], Tensor]:
        return lambda: _decoded(one, [batch])

    device = batch.model.device
    if plan.choices == sequential_plan.choices:
        seconds = min(seconds_of(decoded(sequential_plan), device) for _ in range(TURNS))
        return replace(sequential_plan, seconds=seconds, sequential_seconds=seconds)
    pairs = paired_seconds(decoded(plan), decoded(sequential_plan), TURNS, device)
    ratios, sequential_s = gains(pairs), min(other for _, other in pairs)
    if sure_gain(ratios) < GAIN:
        return replace(sequential_plan, seconds=sequential_s, sequential_seconds=sequential_s)
    return replace(
        plan, seconds=sequential_s / median_gain(ratios), sequential_seconds=sequential_s, gains=tuple(ratios)
    )


def _decoded(plan: DecoderPlan, batches: Sequence[Decoding]) -> Tensor:
    decoder = PlannedDecoder(plan=plan)
    return torch.cat([decode_batch(decoder, batch)[0][-1] for batch in batches])
