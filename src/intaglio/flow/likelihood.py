"""Likelihood of pictures under a flow, in bits a dimension."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.flow.training.data import FlowPictures, dequantised
from intaglio.models.flow.tarflow import TarFlow
from intaglio.randomness import generator_32bit
from intaglio.runs.fan_out import fan_out_in_order, workers_of_cluster
from intaglio.runs.run import Run


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Bits a dimension of every picture, over several draws of noise."""

    names: tuple[str, ...]
    """File names of the pictures."""
    bits: Float[Tensor, "n"]
    """Mean over the draws of noise, float64."""
    spread: Float[Tensor, "n"]
    """Standard deviation over the draws; 0 for one."""
    noisy: bool
    """Whether the model was trained with Gaussian noise: bits of noisy pictures are not comparable with others."""

    @property
    def mean(self) -> float:
        """Mean over all pictures."""
        return float(self.bits.mean())


def likelihood(
    model: TarFlow, data: FlowPictures, *, draws: int = 1, batch: int = 64, seed: int = 0, run: Run = Run.none()
) -> Likelihood:
    """Bits a dimension of pictures under a flow, each with `draws` draws of noise that depend on (seed, its content).

    A model trained by uniform dequantisation gives an upper bound on the bits of the 8-bit pictures. One trained with
    Gaussian noise is given pictures with that noise, and its bits are not comparable with another model's. Inside
    `on_cluster` batches are weighed there. Raises `ValueError` for fewer than one draw or picture.
    """
    if draws < 1 or not len(data):
        raise ValueError(f"a likelihood needs at least one picture and one draw, not {len(data)} and {draws}")
    work, bits = _Weighing(model, data, draws, seed), []
    with run.progress(len(data), "weigh") as progress:
        for rows, found in fan_out_in_order(work, torch.arange(len(data)).split(batch), workers_of_cluster()):
            bits.append(found)
            progress.advance(len(rows))
    every = torch.cat(bits, 1)
    spread = every.std(0) if draws > 1 else torch.zeros(every.shape[1], dtype=every.dtype)
    return Likelihood(data.images.names, every.mean(0), spread, model.config.noise_std > 0)


@dataclass(frozen=True, eq=False)
class _Weighing:
    """Bits a dimension [draws, m] of some of the pictures, in whatever process."""

    model: TarFlow
    data: FlowPictures
    draws: int
    seed: int

    @torch.no_grad()
    def __call__(self, rows: Int64[Tensor, "m"]) -> Float[Tensor, "d m"]:
        model, data = self.model, self.data
        labels = None if data.labels is None else data.labels[rows].to(model.device)
        noise = model.config.noise_std
        of_draws = (_with_noise(data, rows, noise, self.seed, draw).to(model.device) for draw in range(self.draws))
        return torch.stack([model.bits_per_dimension(noisy, labels).double().cpu() for noisy in of_draws])


def _with_noise(
    data: FlowPictures, rows: Int64[Tensor, "m"], noise: float, seed: int, draw: int
) -> Float[Tensor, "m 3 h w"]:
    """Some of the pictures in [-1, 1], each with noise of its own generator."""
    pixels, hashes = data.images.pixels, data.images.hashes
    sources = {row: generator_32bit(seed, hashes[row], draw) for row in rows.tolist()}
    return torch.cat([dequantised(pixels[row : row + 1], noise, source) for row, source in sources.items()])
