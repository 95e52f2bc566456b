"""Statistics of the inputs of layers over calibration rows: means of squares, or of products of two inputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.layers import WeightLayer

Gathered = Literal["nothing", "squares", "products", "largest"]
MEMORY = 0.8e9
"""Bytes of statistics that are gathered at once; layers beyond them wait for another pass over the rows."""
EVERY_S = 60.0
"""Seconds between two stored sums."""
WIDEST, BLOCK = 4096, 2048
"""Columns up to which products of all pairs are kept, and the size of the blocks of pairs of wider layers."""
MOST_INPUTS = 512
"""Inputs of largest norm that are kept of a layer."""


@dataclass(frozen=True, eq=False)
class InputStatistics:
    """Means over all positions of a layer's inputs x [n]."""

    squares: Float[Tensor, "n"]
    """Of x²."""
    products: tuple[Float[Tensor, "_ _"], ...] = ()
    """Of xxᵀ: one matrix [n, n], or the diagonal blocks of it where n is above 4096; none where squares are enough."""
    largest: Float[Tensor, "m n"] = field(default_factory=lambda: torch.zeros(0, 0))
    """The 512 inputs of largest norm, the largest first, where they are wanted; zeros where there are fewer."""


class _Sums:
    """Sums of one layer, in float32 over a batch and float64 over batches, on the CPU."""

    def __init__(self, layer: WeightLayer, gathered: Gathered):
        n, self.layer = layer.columns, layer
        self.count = torch.zeros(1, dtype=torch.long)
        self.squares = torch.zeros(n, dtype=torch.float64)
        cuts = [slice(0, n)] if n <= WIDEST else [slice(k, min(k + BLOCK, n)) for k in range(0, n, BLOCK)]
        self.cuts = cuts if gathered == "products" else []
        sizes = [cut.stop - cut.start for cut in self.cuts]
        self.products = [torch.zeros(size, size, dtype=torch.float64) for size in sizes]
        self.largest = torch.zeros(MOST_INPUTS if gathered == "largest" else 0, n)

    def add(self, x: Tensor) -> None:
        rows = self.layer.inputs(x.detach()).float()
        self.count += len(rows)
        self.squares += rows.square().sum(0).cpu().double()
        for total, cut in zip(self.products, self.cuts, strict=True):
            total += (rows[:, cut].T @ rows[:, cut]).cpu().double()
        if len(self.largest):
            every = torch.cat([self.largest, rows.cpu()])
            order = every.double().square().sum(1).sort(descending=True, stable=True).indices
            self.largest.copy_(every[order[:MOST_INPUTS]])

    def tensors(self) -> dict[str, Tensor]:
        blocks = {f"products {k}": block for k, block in enumerate(self.products)}
        return {"count": self.count, "squares": self.squares, "largest": self.largest, **blocks}

    def means(self) -> InputStatistics:
        count = max(1, int(self.count))
        products = tuple((one / count).float() for one in self.products)
        return InputStatistics((self.squares / count).float(), products, self.largest)


def in_chunks(layers: Sequence[WeightLayer], gathered: Gathered) -> list[list[WeightLayer]]:
    """Layers in their order, in pieces whose statistics fit `MEMORY`; each piece has a layer at least."""
    chunks: list[list[WeightLayer]] = [[]]
    held = 0.0
    for layer in layers:
        each = {"products": min(layer.columns, WIDEST), "largest": MOST_INPUTS / 2}
        size = 8.0 * layer.columns * each.get(gathered, 1)
        if chunks[-1] and held + size > MEMORY:
            chunks.append([])
            held = 0.0
        chunks[-1].append(layer)
        held += size
    return chunks


def stored_batches(run: Run, name: str) -> int:
    """Batches of a pass whose sums a run keeps in the state of this name."""
    known = run.load_state(name)
    return 0 if known is None else known[1].whole("batches")


@torch.no_grad()
def input_statistics(
    model: LatentDiffusion,
    layers: Sequence[WeightLayer],
    rows: CalibrationStates,
    gathered: Gathered,
    *,
    batch: int,
    name: str,
    run: Run,
    progress: Progress,
) -> list[InputStatistics]:
    """Statistics of each layer's inputs, by one pass over the rows; the model is left as it was.

    Args:
        model: that the layers are of.
        layers: of which statistics are wanted.
        rows: that go through the denoiser; of a text encoder, its inputs are those of their prompts.
        gathered: what is wanted, not `nothing`.
        batch: rows at once.
        name: of the run's state that keeps the sums, at most once a minute.
        run: keeps them.
        progress: advances with each batch.
    """
    sums = [_Sums(layer, gathered) for layer in layers]
    stored = {f"{k} {key}": t for k, one in enumerate(sums) for key, t in one.tensors().items()}
    done = stored_batches(run, name)
    if (known := run.load_state(name)) is not None:
        for key, tensor in stored.items():
            tensor.copy_(known[0][key])
    last = -(-len(rows) // batch) - 1
    with model.frozen():
        for place, one in enumerate(rows.batches(model, batch)):
            if place < done:
                continue
            with _watched(sums):
                model.predict(*one)
            run.save_state(name, stored, {"batches": place + 1}, every_s=0 if place == last else EVERY_S)
            progress.advance()
    return [one.means() for one in sums]


@contextmanager
def _watched(sums: Sequence[_Sums]) -> Iterator[None]:
    """Adds every input that the layers take within."""
    hooks = [one.layer.module.register_forward_pre_hook(lambda _, args, one=one: one.add(args[0])) for one in sums]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
