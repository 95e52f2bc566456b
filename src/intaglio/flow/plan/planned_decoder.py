"""Decoding by a plan: each block by the choice that was measured for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.cost import BlockPasses, patch_by_patch, sweeps
from intaglio.flow.family import Decoder
from intaglio.flow.iterate.one_by_one import one_by_one, sequential
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import coarse_sweeps, initial_guess, sweep
from intaglio.flow.iterate.window import advance_frontier
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan
from intaglio.flow.plan.trial import Trial, trial_is_due
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.models.flow.tarflow import MetaBlock, TarFlow

FittedGuess = Callable[[Float[Tensor, "n t c"]], Float[Tensor, "n t c"]]
"""From a block's output to a first iterate, patches in raster order."""


def _silent(message: str) -> None:
    """For whom nothing is to be said."""


@dataclass(frozen=True, kw_only=True)
class PlannedDecoder(Decoder):
    """Decoding of a model by the plan that was measured for it."""

    name = "auto"
    """The method that looks plans up and decodes by them."""
    plan: DecoderPlan
    copies: dict[int, MetaBlock] = field(default_factory=dict, repr=False, compare=False)
    """Blocks in bfloat16, by index, made when they are first needed; a plan is of one model."""
    checked: bool = False
    """Try the plan where its first batch takes another time than was measured; see `following`."""
    trial: Trial | None = field(default=None, compare=False)
    """The times of the batches under trial."""
    warn: Callable[[str], None] = field(default=_silent, repr=False, compare=False)
    """Takes a sentence where the plan is given up."""

    def following(self, blocks: Sequence[BlockReport], left: int) -> Decoder:
        """The decoder of the next batch; by the plan, unless patch by patch is found to be faster now.

        Where the first batch takes clearly more or less time than the plan says, the next are decoded patch by patch
        and by the plan in turns, until one of them is faster.
        """
        if not self.checked:
            return self
        seconds = sum(block.seconds for block in blocks)
        if self.trial is None:
            due = trial_is_due(self.plan, seconds, left)
            return replace(self, checked=due, trial=Trial().with_batch(seconds) if due else None)
        trial = self.trial.with_batch(seconds)
        if trial.passed is None:
            return replace(self, trial=trial)
        if not trial.passed:
            self.warn(
                f"the plan was measured to be {self.plan.sequential_seconds / self.plan.seconds:.2f} times as fast as "
                f"patch by patch and is {trial.gain:.2f} times as fast now, so the rest goes patch by patch; where the "
                f"machine is as idle as it will be, measure again: intaglio flow calibrate --batch {self.batch}"
            )
        return replace(self, plan=self.plan if trial.passed else self.plan.sequential, checked=False, trial=None)

    def passes(self, model: TarFlow, block: int) -> tuple[BlockPasses, ...]:
        """See `Decoder.passes`: those of the block's choice.

        A plan knows the most sweeps of a block and not how many there will be; of windows it says nothing.
        """
        tokens, choice = model.config.tokens, self.plan.choices[model.config.num_blocks - 1 - block]
        if choice.method == "sequential":
            return patch_by_patch(tokens)
        if choice.method == "frontier":
            return ()
        return (*sweeps(tokens, choice.coarse_sweeps), *sweeps(tokens, choice.cap))

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        order = inverse.block.config.num_blocks - 1 - inverse.block.index
        by_plan = self.trial is None or self.trial.next_is_planned
        choice = self.plan.choices[order] if by_plan else Choice("sequential")
        report.method = choice.method
        return decode_by_choice(choice, self.plan.guesses.get(order), inverse, v, report, watch, self.copies)


def decode_by_choice(
    choice: Choice,
    guess: FittedGuess | None,
    inverse: BlockInverse,
    v: Float[Tensor, "n t c"],
    report: BlockReport,
    watch: BlockCallback,
    copies: dict[int, MetaBlock],
) -> Float[Tensor, "n t c"]:
    """The solution u of one block.

    Args:
        choice: the method and its settings.
        guess: the fitted first guess, where the choice starts from one.
        inverse: the block under labels and guidance.
        v: its output, in the block's own order of patches.
        report: takes changes, frontier and fallbacks.
        watch: called after every pass.
        copies: keeps the blocks in bfloat16, by index, for the next call.
    """
    if choice.method == "sequential":
        return sequential(inverse, v, watch)
    if choice.guess == "fitted" and guess is not None:
        block = inverse.block
        u = block.permuted(guess(block.permuted(v)))
        u[:, :1] = v[:, :1]
    else:
        u = initial_guess(v, "zeros" if choice.guess == "zeros" else "output")
    coarse_sweeps(inverse, v, u, choice.coarse_sweeps, report, watch, copies)
    if choice.method == "frontier":
        advance_frontier(inverse, v, u, choice.tolerance, choice.window or None, report, watch)
        return u
    stopping, cap = Stopping.of("change", choice.tolerance, v), min(choice.cap, inverse.tokens - 1)
    left = sweep(inverse, v, u, stopping, cap, report, watch)
    if len(left) and cap < inverse.tokens - 1:
        report.fallbacks.append(f"{len(left)} pictures went on patch by patch after {cap} sweeps")
        u[left] = _finished(inverse.rows(left), v[left], u[left], cap)
    return u


def _finished(
    inverse: BlockInverse, v: Float[Tensor, "n t c"], u: Float[Tensor, "n t c"], final: int
) -> Float[Tensor, "n t c"]:
    """Patch by patch from the last final one, index `final`; one pass computes the keys and values before it."""
    cache = inverse.cache()
    if final:
        inverse.parameters(u[:, :final], 0, cache)
    one_by_one(inverse, v, u, final, cache, lambda u, final: None)  # a part of the batch is nothing to watch
    return u
