"""DAREx: of a fine-tune's change a random few entries, rescaled such that predictions stay as near as they can."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.drawn_entries import DrawnEntries
from intaglio.models.packing.term import Term
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.shrunk import Shrunk

PROBE, RECORD = 0.5, "divisor"
"""Share that is dropped to see how far predictions move, where the variance of a mask is that of the change itself."""


@dataclass(frozen=True, kw_only=True)
class DAREx(LayerShrinker):
    """DAREx-q: keeps a random few of a fine-tune's changes, rescaled to lose least of predictions.

    With δ the change of a weight from the base, each entry stays with the probability 1-p, p being `drop`, and is
    divided by q: θ = θ_base + m·δ/q. DARE takes q = 1-p, which is right on average and far off for a large p. To first
    order the expected squared error of a prediction is (1-(1-p)/q)²·S² + p(1-p)/q²·V, with S the prediction's whole
    change and V the sum of squares of what each entry does to it, so that it is least at q = (1-p) + p·V/S². V/S² is
    measured once, as the squared error over S² with half of the entries dropped, on the calibration rows; this closed
    form stands in place of the published search for q by the outputs. The same by each layer's own outputs was tried
    and is worse: it shrinks every layer's change, and these shrinkings add up. The mask is found again by its seed, so
    that places take no bits. Biases and norms are stored whole, in half precision.

    Source: arXiv 2410.09344.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    calibrated: ClassVar[bool] = True
    on_base: ClassVar[bool] = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()

    keep: tuple[str, ...] = ()
    """Must be empty: every layer is stored as its change."""
    drop: float = 0.9
    """Probability that an entry of the change is dropped, above 0 and below 1."""
    rule: Literal["outputs", "dare"] = "outputs"
    """outputs: the divisor of least expected error of the predictions; dare: 1 - drop."""
    divisor: float | None = None
    """Divisor of the entries that stay, above 0; none takes that of the rule."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.drop < 1, f"drop must be above 0 and below 1, not {self.drop}")
        require(not self.keep, "keep must be empty: every layer is stored as its change from the base")
        require(self.divisor is None or 0 < self.divisor < float("inf"), f"divisor must be above 0, not {self.divisor}")

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The kept changes; errors as of `Shrinker`."""
        if self.divisor is not None:
            return super().__call__(model, calibration, base=base, run=run)
        divisor = 1 - self.drop
        self.check(model, base)
        if self.rule == "outputs" and calibration is not None and base is not None:
            divisor += self.drop * self._spread(model, base, calibration.learned, run)
        return replace(self, divisor=divisor)(model, calibration, base=base, run=run)

    def _spread(self, model: LatentDiffusion, base: LatentDiffusion, rows: CalibrationStates, run: Run) -> float:
        """V/S² of the predictions, which the run keeps."""
        if RECORD not in (known := run.recorded(RECORD)):
            probe = replace(self, drop=PROBE, divisor=1 - PROBE)(model, rows, base=base).model
            known[RECORD] = {"spread": lost_change(base, model, probe, rows, self.batch) ** 2}
            run.record(RECORD, RECORD, known[RECORD])
        return float(known[RECORD]["spread"])

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The kept entries of a change, over the divisor."""
        return (DrawnEntries.of(weight, 1 / (self.divisor or 1 - self.drop), self.seed, label, 1 - self.drop),)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of the entries that stay."""
        return 16 * (1 - self.drop)


@torch.no_grad()
def lost_change(
    base: LatentDiffusion, tuned: LatentDiffusion, kept: LatentDiffusion, rows: CalibrationStates, batch: int
) -> float:
    """Norm of the difference of predictions between the whole fine-tune and what is kept, over that to the base.

    1 where nothing is lost because nothing changed.
    """
    lost = whole = 0.0
    models = (base, tuned, kept)
    with base.frozen(), tuned.frozen(), kept.frozen():
        for batches in zip(*(rows.batches(model, batch) for model in models), strict=True):
            before, after, small = (model.predict(*one) for model, one in zip(models, batches, strict=True))
            lost, whole = lost + float((small - after).square().sum()), whole + float((after - before).square().sum())
    return (lost / whole) ** 0.5 if whole else 1.0
