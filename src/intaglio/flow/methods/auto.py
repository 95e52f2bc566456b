"""Automatic decoding: each block by what was measured to be fastest for it, here, at the error that is allowed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.family import Decoder
from intaglio.flow.iterate.one_by_one import sequential
from intaglio.flow.iterate.window import UNMEASURED
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan, key_of, plan_input
from intaglio.flow.plan.planned_decoder import PlannedDecoder
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.flow.tiers import TIERS, TierName
from intaglio.models.flow.tarflow import TarFlow


@dataclass(frozen=True, kw_only=True)
class AutoDecoder(Decoder):
    """Automatic decoding: each block by what was measured to be fastest for it here.

    A plan says for each block [n, T, C] whether it goes patch by patch, by sweeps, or by a frontier. Which of them is
    fastest depends on the block, the device and the batch: on a GPU sweeps cost little more than a single patch, on two
    cores with many pictures hardly anything beats patch by patch. `intaglio flow calibrate` times them all on this
    machine, chooses within the tier's error, and proves the whole on other latents; it also fits each block's first
    guess. Sweeps that do not converge within the time of going patch by patch go on that way. Without a plan for this
    model, device, batch and guidance it goes patch by patch on a CPU, and by the frontier elsewhere, with a warning.

    Source: this project, on arXiv 2412.06329 and 2505.24791.
    """

    planned: ClassVar[bool] = True

    tier: TierName = "near"
    """How close to sequential decoding, in [-1, 1]: near, 2/127.5 at most and 0.002 in the mean; exact, 0.001 and
    0.0001."""
    plans: Path = Path("runs/flow-plans")
    """Folder that `flow calibrate` writes its plans to."""
    check: bool = True
    """Where the first batch takes clearly more or less time than was measured, decode the next patch by patch and by
    the plan in turns, and go on as is faster. Without it pictures depend on the plan alone, bit for bit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tier not in TIERS:
            raise ValueError(f"tier is one of {', '.join(TIERS)}, not {self.tier!r}")

    @classmethod
    def candidates(cls, tier: TierName) -> Sequence[Sequence[Decoder]]:
        """See `Decoder.candidates`."""
        return [[cls(tier=tier)]]

    def prepared(self, model: TarFlow, pictures: int, guidance: Guidance, warn: Callable[[str], None]) -> Decoder:
        """By the plan that was measured; where there is none, what is fastest by far on most machines of the kind."""
        batch, key = self._batch(pictures), self._key(model, pictures, guidance)
        plan = DecoderPlan.find(self.plans, key, model.config)
        if plan is None:
            choice, choice_in_words = self._unmeasured(model)
            remedy = f"measure one with: intaglio flow calibrate --batch {batch}"
            warn(f"no plan was measured for this model, machine and batches of {batch}, so {choice_in_words}; {remedy}")
            plan = DecoderPlan(key, (choice,) * model.config.num_blocks)
        return PlannedDecoder(batch=self.batch, certify=self.certify, plan=plan, checked=self.check, warn=warn)

    def inputs(self, model: TarFlow, pictures: int, guidance: Guidance) -> Mapping[str, Mapping[str, Any]]:
        """The plan: with another one, pictures are others. Raises `BadInput` where it cannot be used."""
        key = self._key(model, pictures, guidance)
        DecoderPlan.find(self.plans, key, model.config)
        return {"plan": plan_input(self.plans, key)}

    def _batch(self, pictures: int) -> int:
        return min(self.batch, max(1, pictures))

    def _key(self, model: TarFlow, pictures: int, guidance: Guidance) -> dict[str, Any]:
        return key_of(model, self._batch(pictures), guidance, self.tier)

    def _unmeasured(self, model: TarFlow) -> tuple[Choice, str]:
        """The choice for every block where nothing was measured, and the words for it."""
        if model.device.type == "cpu":
            return Choice("sequential"), "it goes patch by patch"
        return Choice("frontier", UNMEASURED[self.tier]), "the frontier decodes"

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """Patch by patch: only the decoder that `prepared` returns knows better."""
        return sequential(inverse, v, watch)
