"""SAQ: keys and values of a prompt, computed once and kept in fewer bits the further a token is from the first."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from intaglio.errors import BadInput, require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.text_cache import attends_to_prompts, cache_text, cached_projections
from intaglio.models.diffusion.token_stairs import Stairs
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import HELD, CalibrationStates
from intaglio.shrink.family import Shrinker, ShrinkPlan
from intaglio.shrink.picture_costs import CALLS, layer_multiplications, milliseconds
from intaglio.shrink.price import prediction_error
from intaglio.shrink.shrunk import Shrunk, shrunk

RECORD = "text_cache"
"""Kind of the run's records of measured errors."""


@dataclass(frozen=True, kw_only=True)
class SAQ(Shrinker):
    """SAQ: keys and values of prompts, computed once a prompt and kept in a staircase of bits.

    In cross-attention they depend on neither picture nor time, so that a sampling computes them once. Token k of a
    prompt is kept in the bits of its stair: half precision for the first, 8 bits for the next eight, 4 for all others,
    as codes with a scale max|x|/(2^(b-1)-1) for each token and head; with bits 32 alone the cache is exact. The model
    that is stored keeps them for whoever samples with it, for the four batches of prompts that were used last, told
    apart by content, and those of the last batch unpacked beside; where gradients of the prompt or of these weights are
    taken, all is computed anew and in full. Weights are stored in half precision, and no smaller. Measured figures tell
    the error of predictions beside that of flat caches, of the most bits that take no more room and of one bit more,
    and milliseconds of a call whose prompt is kept.

    Source: The Nature of Mathematical Modeling (arXiv 2410.18441), which has a staircase of bits for language models;
    text in cross-attention is this software's. Its block-random attention is no part of this: there is no causal order.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"
    calibrated: ClassVar[bool] = True
    structural: ClassVar[bool] = True

    bits: tuple[int, ...] = (16, 8, 4)
    """Bits of each stair, that of the first tokens first: 2 to 8, 16, or 32 for numbers as computed."""
    lengths: tuple[int, ...] = (1, 8)
    """Tokens of each stair but the last, which takes all others, each 1 or more."""
    batch: int = 8
    """Calibration rows through the network at once, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.parts == ("denoiser",), f"parts must be denoiser, whose prompts are kept, not {self.parts}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        _ = self.stairs

    @property
    def stairs(self) -> Stairs:
        """The stairs. Raises `ValueError` for lengths that do not fit the bits."""
        return Stairs(self.bits, self.lengths)

    def check(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` also for a model that keeps its prompts already, or has no cross-attention."""
        super().check(model, base)
        if cached_projections(model.denoiser):
            raise BadInput(f"{model.name} keeps its keys and values already; give the model that it was made from")
        if not attends_to_prompts(model.denoiser):
            raise BadInput(f"the denoiser of {model.name} has no cross-attention to a prompt; use another method")

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, which are the same, and rows through the network."""
        numbers = sum(weight.numel() for weight in model.denoiser.state_dict().values())
        return ShrinkPlan(2 * numbers, 2 * numbers, 2 * len(self._caches(_tokens(model))) * (rows // HELD))

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The model that keeps its prompts; errors as of `Shrinker`."""
        self.check(model, base)
        held = self.given_rows(calibration).held
        plain = shrunk(model, {"denoiser": {}}, self.packing(model))
        errors = self._errors(plain.model, held, run)
        twin = _keeping(plain.model, self.stairs)
        found = replace(plain, model=twin, facts=self._facts(plain.model, twin, held, errors))
        stairs, flat = errors["stairs"], errors.get("flat, no more bytes")
        if flat is None or stairs <= flat:
            return found
        bits = int(self.stairs.mean_bits(_tokens(model)))
        told = f"a flat cache of {bits} bits takes no more room and is nearer ({flat:.3g} against {stairs:.3g})"
        return replace(found, warnings=(f"{told}: give that one stair alone",))

    def _caches(self, tokens: int) -> dict[str, Stairs]:
        """The stairs, and flat caches of whole bits: the most that takes no more room, and the next."""
        mean = self.stairs.mean_bits(tokens)
        known = {"stairs": self.stairs}
        if len(set(self.bits)) > 1 and 2 <= int(mean) <= 7:
            known["flat, no more bytes"] = Stairs((int(mean),))
            known["flat, one bit more"] = Stairs((int(mean) + 1,))
        return {**known, "exact": Stairs((32,))}

    def _errors(self, plain: LatentDiffusion, rows: CalibrationStates, run: Run) -> dict[str, float]:
        """Relative error of the predictions with each cache, against those without one."""
        caches = self._caches(_tokens(plain))
        known = {name: float(one["error"]) for name, one in run.recorded(RECORD).items() if name in caches}
        with run.progress(len(caches), self.name, len(known)) as progress:
            for name, stairs in caches.items():
                if name not in known:
                    error = prediction_error(plain, _keeping(plain, stairs), rows, self.batch)
                    known[name] = error.whole
                    run.record(RECORD, name, {"error": error.whole})
                    progress.advance()
        return {name: known[name] for name in caches}

    def _facts(
        self, plain: LatentDiffusion, twin: LatentDiffusion, rows: CalibrationStates, errors: Mapping[str, float]
    ) -> dict[str, Any]:
        """Figures of the cache, and of a call that finds its prompt there."""
        layers, kept = layer_multiplications(plain, rows), cached_projections(twin.denoiser)
        whole, saved = sum(layers.values()), sum(layers[name] for name in kept)
        one = rows.first(1).repeated(CALLS + 1)
        times = milliseconds(plain, twin, one)
        cache, tokens = next(iter(kept.values())).cache, _tokens(plain)
        figures = {"bytes_a_prompt": cache.bytes, "mean_bits": self.stairs.mean_bits(tokens), "errors": dict(errors)}
        numbers = sum(layer.out_features for layer in kept.values()) * tokens
        cache.prompts.clear()
        return {
            "text_cache": {**figures, "bytes_a_prompt_at_16_bits": 2 * numbers},
            "multiplications": {"before": whole, "after": whole - saved, "share": 1 - saved / whole},
            "call_ms": times,
        }


def _keeping(plain: LatentDiffusion, stairs: Stairs) -> LatentDiffusion:
    """A copy of a model that keeps its prompts."""
    twin = plain.copy()
    cache_text(twin.denoiser, stairs)
    return twin


def _tokens(model: LatentDiffusion) -> int:
    """Tokens of a prompt."""
    return int(model.tokenizers[0].model_max_length)
