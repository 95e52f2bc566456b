"""Measure how each block decodes fastest here, and choose what together is exact enough."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.block.inverse import Inverse, inverses
from intaglio.flow.calibrate.block_timings import SEQUENTIAL, Measured, growth, options
from intaglio.flow.calibrate.error_budget import dealt
from intaglio.flow.decoding import decode_batch
from intaglio.flow.family import BlockReport
from intaglio.flow.methods.auto import _PlannedDecoder, carry_out
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan, key_of
from intaglio.flow.plan.guess import LocalGuess
from intaglio.flow.plan.tiers import TIERS, TierName, differences
from intaglio.models.flow.tarflow import MetaBlock, TarFlow
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run

FITTED, JUDGED, PROVED = 64, 24, 48
"""Pictures, at least, that first guesses are fitted on, that errors are measured on, and that a plan is proved on."""
DIRECTIONS, NUDGE, NUDGED = 3, 1e-3, 8
"""Perturbations that say how much a block's error grows on its way out: their number, their relative size, pictures."""
SHARES = (4.0, 2.8, 2.0, 1.4, 1.0, 0.7, 0.5, 0.25, 0.1)
"""Of the allowed error, dealt out to the blocks until the whole is exact enough: their worst errors rarely meet."""
MARGIN = 0.7
"""Share of the tier that a plan must keep to where it is chosen, so that it keeps to the tier elsewhere."""
TURNS = 5
AT_ONCE = 16
"""Pictures, at least, that are decoded together where time is not measured."""
GAIN = 1.03
"""A plan must be faster than patch by patch by this much to be taken."""

Drawn = tuple[Float[Tensor, "n t c"], Int64[Tensor, "n"] | None]


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
    it is not within the tier there, less error is dealt out, at last none. Raises `BadInput` for a batch below 1.
    """
    if batch < 1:
        raise BadInput(f"a plan is for batches of at least 1 picture, not {batch}")
    known = DecoderPlan(key_of(model, batch, guidance, tier), ())
    count = model.config.num_blocks
    with torch.inference_mode(), run.progress(count + 2, "calibrate") as progress:
        fitted = _sequential(model, _draws(model, batch, seed, "fit", FITTED), guidance)
        progress.advance()
        judged = _draws(model, batch, seed, "errors", JUDGED)
        blocks = _blocks(model, fitted, judged, guidance)
        choices = []
        for block in blocks:
            choices.append(options(block, TIERS[tier].largest / (count * block.growth)))
            progress.advance()
        proof = _draws(model, batch, seed, "proof", PROVED)
        plan = _proved(model, blocks, choices, judged, proof, guidance, known)
        progress.advance()
    return plan


def _draws(model: TarFlow, batch: int, seed: int, what: str, pictures: int) -> list[Drawn]:
    return [_drawn(model, batch, seed, what, part) for part in range(math.ceil(pictures / batch))]


def _drawn(model: TarFlow, batch: int, seed: int, what: str, part: int) -> Drawn:
    shape = (batch, model.config.tokens, model.config.token_width)
    noise = torch.randn(shape, generator=generator_32bit(seed, what, part)).to(model.device, model.working_dtype)
    classes = model.config.num_classes
    labels = (part * batch + torch.arange(batch)) % classes if classes else None
    return noise, None if labels is None else labels.to(model.device)


def _sequential(model: TarFlow, drawn: Sequence[Drawn], guidance: Guidance) -> list[Tensor]:
    """h_K to h_0 of all batches joined; patch by patch the size of a batch changes nothing but the time."""
    noise, labels = torch.cat([part for part, _ in drawn]), _labels(drawn)
    size = max(AT_ONCE, len(drawn[0][0]))
    told = [None] * math.ceil(len(noise) / size) if labels is None else labels.split(size)
    parts = [
        decode_batch(SequentialDecoder(), model, part, of, guidance)[0]
        for part, of in zip(noise.split(size), told, strict=True)
    ]
    return [torch.cat(states) for states in zip(*parts, strict=True)]


def _labels(drawn: Sequence[Drawn]) -> Tensor | None:
    told = [labels for _, labels in drawn if labels is not None]
    return torch.cat(told) if told else None


def _blocks(model: TarFlow, fitted: Sequence[Tensor], drawn: Sequence[Drawn], guidance: Guidance) -> list[Measured]:
    """The blocks in the order of decoding, each with its sequential answers, its guess and its growth."""
    labels = _labels(drawn)
    exact, batch = _sequential(model, drawn, guidance), len(drawn[0][0])
    return [
        Measured(
            inverse,
            block.permuted(exact[place]),
            block.permuted(exact[place + 1]),
            batch,
            LocalGuess.fit(fitted[place], fitted[place + 1], model.config.grid),
            _growth(model, exact[place + 1][:NUDGED], place, labels, guidance),
        )
        for place, (block, inverse) in enumerate(inverses(model, len(exact[0]), labels, guidance))
    ]


def _growth(model: TarFlow, h: Tensor, place: int, labels: Tensor | None, guidance: Guidance) -> float:
    """How much a small change of a block's result grows in what is left of the model."""
    left = inverses(model, len(h), None if labels is None else labels[: len(h)], guidance)[place + 1 :]
    if not left:
        return 1.0
    straight, worst = _through(left, h), 0.0
    for direction in range(DIRECTIONS):
        unit = torch.randn(h.shape, generator=generator_32bit(direction, "nudge")).to(h)
        nudge = unit * NUDGE * h.square().mean().sqrt()
        worst = max(worst, growth(straight, _through(left, h + nudge), nudge))
    return worst


def _through(left: Sequence[tuple[MetaBlock, Inverse]], h: Tensor) -> Tensor:
    for block, inverse in left:
        report = BlockReport(block.index, "sequential")
        u = carry_out(SEQUENTIAL, None, inverse, block.permuted(h), report, lambda u, final: None, {})
        h = block.permuted(u)
    return h


def _proved(
    model: TarFlow,
    blocks: Sequence[Measured],
    choices: Sequence[Sequence[Choice]],
    judged: Sequence[Drawn],
    proof: Sequence[Drawn],
    guidance: Guidance,
    known: DecoderPlan,
) -> DecoderPlan:
    """The fastest plan that keeps well within the tier on what errors were measured on, and within it on the proof."""
    tier = TIERS[known.key["tier"]]
    exact = [_sequential(model, drawn, guidance)[-1] for drawn in (judged, proof)]
    plain = replace(known, choices=tuple(of[0] for of in choices))
    for share in SHARES:
        chosen = dealt(choices, [block.growth for block in blocks], share * tier.largest)
        guesses = {place: blocks[place].guess for place, one in enumerate(chosen) if one.guess == "fitted"}
        plan = replace(known, choices=chosen, guesses=guesses)
        if not replace(tier, largest=MARGIN * tier.largest).holds(_decoded(model, plan, judged, guidance), exact[0]):
            continue
        found = _decoded(model, plan, proof, guidance)
        if tier.holds(found, exact[1]):
            largest, mean = differences(found, exact[1])
            return _faster(model, replace(plan, largest=largest, mean=mean), plain, proof[0], guidance)
    return _faster(model, plain, plain, proof[0], guidance)


def _faster(model: TarFlow, plan: DecoderPlan, plain: DecoderPlan, drawn: Drawn, guidance: Guidance) -> DecoderPlan:
    """The plan with its time beside the sequential one's, by turns; the sequential one where nothing is gained."""
    if plan.choices == plain.choices:
        seconds = min(_seconds(model, plain, drawn, guidance) for _ in range(TURNS))
        return replace(plain, seconds=seconds, sequential_seconds=seconds)
    times: list[tuple[float, float]] = []
    for _ in range(TURNS):
        times.append((_seconds(model, plan, drawn, guidance), _seconds(model, plain, drawn, guidance)))
    ours, theirs = (min(turn) for turn in zip(*times, strict=True))
    if ours * GAIN > theirs:
        return replace(plain, seconds=theirs, sequential_seconds=theirs)
    return replace(plan, seconds=ours, sequential_seconds=theirs)


def _seconds(model: TarFlow, plan: DecoderPlan, drawn: Drawn, guidance: Guidance) -> float:
    began = time.perf_counter()
    _decoded(model, plan, [drawn], guidance).sum().item()  # which waits for the device
    return time.perf_counter() - began


def _decoded(model: TarFlow, plan: DecoderPlan, drawn: Sequence[Drawn], guidance: Guidance) -> Tensor:
    decoder = _PlannedDecoder(plan=plan)
    return torch.cat([decode_batch(decoder, model, noise, labels, guidance)[0][-1] for noise, labels in drawn])
