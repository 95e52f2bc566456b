"""How probable pictures are under a flow."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.training.data import FlowPictures, dequantised
from intaglio.models.flow.tarflow import TarFlow
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Bits a dimension of every picture."""

    names: tuple[str, ...]
    bits: Float[Tensor, "n"]
    """Mean over the draws of noise, float64."""
    spread: Float[Tensor, "n"]
    """Standard deviation over the draws; 0 for one."""
    noisy: bool
    """Whether these are bits of pictures with Gaussian noise, which are not comparable with others."""

    @property
    def mean(self) -> float:
        """Over all pictures."""
        return float(self.bits.mean())


@torch.no_grad()
def likelihood(
    model: TarFlow, data: FlowPictures, *, draws: int = 1, batch: int = 64, seed: int = 0, run: Run = Run.none()
) -> Likelihood:
    """Bits a dimension of pictures under a flow, each with `draws` draws of noise that depend on (seed, its content).

    A model trained by uniform dequantisation gives an upper bound on the bits of the 8-bit pictures. One trained with
    Gaussian noise is asked for noisy pictures, as that is what it knows: its bits say nothing beside another's.
    Raises `ValueError` for fewer than one draw or picture.
    """
    if draws < 1 or not len(data):
        raise ValueError(f"a likelihood needs at least one picture and one draw, not {len(data)} and {draws}")
    noise, bits = model.config.noise_std, []
    with run.progress(len(data), "weigh") as progress:
        for rows in torch.arange(len(data)).split(batch):
            labels = None if data.labels is None else data.labels[rows].to(model.device)
            several = []
            for draw in range(draws):
                parts = [
                    dequantised(
                        data.images.pixels[row : row + 1], noise, generator_32bit(seed, data.images.hashes[row], draw)
                    )
                    for row in rows.tolist()
                ]
                several.append(model.bits_per_dimension(torch.cat(parts).to(model.device), labels).double().cpu())
            bits.append(torch.stack(several))
            progress.advance(len(rows))
    every = torch.cat(bits, 1)
    spread = every.std(0) if draws > 1 else torch.zeros(every.shape[1], dtype=every.dtype)
    return Likelihood(data.images.names, every.mean(0), spread, noise > 0)
