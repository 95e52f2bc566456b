"""`LayerShrinker`: methods that pack one layer's weight after the other, each by itself."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, cast

from jaxtyping import Float
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.models.packing.term import Term
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.family import Shrinker, ShrinkPlan
from intaglio.shrink.layer_statistics import Gathered, InputStatistics, in_chunks, input_statistics, stored_batches
from intaglio.shrink.layer_timing import packing_seconds, statistics_seconds
from intaglio.shrink.layers import KEPT_BITS, WeightLayer, kept_apart, weight_layers
from intaglio.shrink.quantiser import kept_finer
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.stored_sizes import sizes


@dataclass(frozen=True, kw_only=True)
class LayerShrinker(Shrinker):
    """A method that packs each layer's weight by itself, with or without statistics of the layer's inputs."""

    gathered: ClassVar[Gathered] = "nothing"
    """Statistics of the inputs that it wants."""

    batch: int = 8
    """Calibration rows at once, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")

    @abstractmethod
    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The terms of one layer's weight, or of its change from the base.

        Args:
            weight: a row for each output.
            inputs: statistics of the layer's inputs, where the method wants some.
            label: the weight's name, for what is drawn.
        """

    @abstractmethod
    def bits_of(self, rows: int, columns: int) -> float:
        """Bits a weight of a layer of this size, scales and all."""

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and calibration rows of every pass."""

        def bits(layer: WeightLayer) -> float:
            if kept_apart(layer, self.keep):
                return KEPT_BITS + 16 / layer.columns
            return self.bits_of(layer.rows, layer.columns)

        before, after = sizes(model, self.parts, bits)
        layers = weight_layers(model, self.parts)
        passes = len(in_chunks(layers, self.gathered)) if self.gathered != "nothing" else 0
        return ShrinkPlan(before, after, passes * rows)

    def seconds(self, model: LatentDiffusion, rows: int) -> float:
        """Seconds of all passes and of packing every layer, from one batch and a few layers that are timed."""
        layers = weight_layers(model, self.parts)
        packed = [layer for layer in layers if not kept_apart(layer, self.keep)]
        spent = packing_seconds(packed, self.gathered, self.pack)
        if self.gathered == "nothing":
            return spent
        chunks = in_chunks(layers, self.gathered)
        return spent + rows * sum(statistics_seconds(model, chunk, self.gathered, self.batch) for chunk in chunks)

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The smaller model; errors as of `Shrinker`."""
        self.check(model, base)
        given = self.given_rows(calibration) if self.calibrated else calibration
        rows = given.learned if self.gathered != "nothing" and given is not None else None
        work = _Work(weight_layers(model, self.parts), self.gathered, rows, self.batch, run)
        packed = work.packed()
        with run.progress(work.steps, self.name, work.done(packed)) as progress:
            for place, chunk in enumerate(work.chunks):
                left = [layer for layer in chunk if layer.name not in packed[layer.part]]
                found = work.statistics(model, place, progress) if left and rows is not None else [None] * len(chunk)
                for layer, inputs in zip(chunk, found, strict=True):
                    if layer in left:
                        terms = self._terms(layer, inputs, base)
                        packed[layer.part][layer.name] = PackedWeight(layer.shape, terms, base is not None)
                        work.save(layer, packed[layer.part][layer.name])
                        progress.advance()
        return replace(self._shrunk(model, base, packed), states=work.states)

    def _terms(
        self, layer: WeightLayer, inputs: InputStatistics | None, base: LatentDiffusion | None
    ) -> tuple[Term, ...]:
        weight = layer.matrix
        if base is not None:
            weight = weight - base.parts[layer.part].state_dict()[layer.name].float().cpu().flatten(1)
        elif kept_apart(layer, self.keep):
            return (kept_finer(layer),)
        return self.pack(weight, inputs, f"{layer.part}.{layer.name}")

    def _shrunk(
        self, model: LatentDiffusion, base: LatentDiffusion | None, packed: dict[str, dict[str, PackedWeight]]
    ) -> Shrunk:
        packing = self.packing(model, base)
        return shrunk(model, packed, packing, None if base is None else base.parts)


@dataclass(frozen=True, eq=False)
class _Work:
    """The layers of a shrinking, in pieces whose statistics are gathered at once, and what a run keeps of it."""

    layers: Sequence[WeightLayer]
    gathered: Gathered
    rows: CalibrationStates | None
    batch: int
    run: Run

    @cached_property
    def chunks(self) -> list[list[WeightLayer]]:
        return in_chunks(self.layers, self.gathered)

    @property
    def batches(self) -> int:
        """Batches of one pass."""
        return 0 if self.rows is None else -(-len(self.rows) // self.batch)

    @property
    def steps(self) -> int:
        """Steps of the progress: layers, and batches of every pass."""
        return len(self.layers) + self.batches * len(self.chunks)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states of a run."""
        passes = range(len(self.chunks)) if self.rows is not None else ()
        return (*map(_packed, range(len(self.layers))), *map(_statistics, passes))

    def packed(self) -> dict[str, dict[str, PackedWeight]]:
        """The packed weights that the run keeps, by part and name."""
        found: dict[str, dict[str, PackedWeight]] = {layer.part: {} for layer in self.layers}
        for place, layer in enumerate(self.layers):
            if (known := self.run.load_state(_packed(place))) is not None:
                tensors, facts = known
                about = Fields.of(facts["weight"], f"state {_packed(place)}", "delete the run's folder")
                found[layer.part][layer.name] = PackedWeight.read(about, tensors)
        return found

    def save(self, layer: WeightLayer, weight: PackedWeight) -> None:
        """Keeps a layer's packed weight."""
        self.run.save_state(_packed(self.layers.index(layer)), weight.tensors(), {"weight": weight.facts()})

    def done(self, packed: dict[str, dict[str, PackedWeight]]) -> int:
        """Steps that were done before."""
        count = sum(map(len, packed.values()))
        for place, chunk in enumerate(self.chunks):
            whole = all(layer.name in packed[layer.part] for layer in chunk)
            count += self.batches if whole and self.batches else stored_batches(self.run, _statistics(place))
        return count

    def statistics(self, model: LatentDiffusion, place: int, progress: Progress) -> list[InputStatistics]:
        """Statistics of the layers of one piece."""
        about = {"batch": self.batch, "name": _statistics(place), "run": self.run, "progress": progress}
        return input_statistics(model, self.chunks[place], cast(CalibrationStates, self.rows), self.gathered, **about)


def _packed(place: int) -> str:
    """Name of the state of a packed layer."""
    return f"layer-{place}"


def _statistics(place: int) -> str:
    """Name of the state of a piece's statistics."""
    return f"inputs-{place}"
