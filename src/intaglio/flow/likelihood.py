"""Likelihood of pictures under a flow, in bits a dimension."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.flow.training.data import FlowPictures, dequantised
from intaglio.models.flow.tarflow import TarFlow
from intaglio.randomness import generator_32bit
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


@torch.no_grad()
def likelihood(
    model: TarFlow, data: FlowPictures, *, draws: int = 1, batch: int = 64, seed: int = 0, run: Run = Run.none()
) -> Likelihood:
    """Bits a dimension of pictures under a flow, each with `draws` draws of noise that depend on (seed, its content).

    A model trained by uniform dequantisation gives an upper bound on the bits of the 8-bit pictures. One trained with
    Gaussian noise is given pictures with that noise, and its bits are not comparable with another model's. Raises
    `ValueError` for fewer than one draw or picture.
    """
    if draws < 1 or not len(data):
        raise ValueError(f"a likelihood needs at least one picture and one draw, not {len(data)} and {draws}")
    noise, bits = model.config.noise_std, []
    with run.progress(len(data), "weigh") as progress:
        for rows in torch.arange(len(data)).split(batch):
            labels = None if data.labels is None else data.labels[rows].to(model.device)
            of_draws = (_with_noise(data, rows, noise, seed, draw).to(model.device) for draw in range(draws))
            bits.append(torch.stack([model.bits_per_dimension(noisy, labels).double().cpu() for noisy in of_draws]))
            progress.advance(len(rows))
    every = torch.cat(bits, 1)
    spread = every.std(0) if draws > 1 else torch.zeros(every.shape[1], dtype=every.dtype)
    return Likelihood(data.images.names, every.mean(0), spread, noise > 0)


def _with_noise(
    data: FlowPictures, rows: Int64[Tensor, "m"], noise: float, seed: int, draw: int
) -> Float[Tensor, "m 3 h w"]:
    """Some of the pictures in [-1, 1], each with noise of its own generator."""
    pixels, hashes = data.images.pixels, data.images.hashes
    sources = {row: generator_32bit(seed, hashes[row], draw) for row in rows.tolist()}
    return torch.cat([dequantised(pixels[row : row + 1], noise, source) for row, source in sources.items()])
