"""A pool of light heads on a denoiser's features, each for a range of noise levels."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from intaglio.distill.heads import drawn_layer, middle_blocks, middle_channels
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

RANGES = 4
"""Equal ranges of timesteps, each with heads of its own."""
WIDTH = 32
"""Channels of a head."""


class PoolHead(nn.Module):
    """Logits from one block's output: two convolutions, of the whole or of each place, with the prompt or without."""

    def __init__(
        self, channels: int, text: int, seed: int, labels: Sequence[str | int], *, prompted: bool, places: bool
    ):
        """Weights are drawn from the seed and the labels alone; `text` is the width of text embeddings."""
        super().__init__()
        self.places = places
        self.first: Any = drawn_layer(nn.Conv2d, seed, (*labels, "first"), channels, WIDTH, 1)
        self.prompt: Any = drawn_layer(nn.Linear, seed, (*labels, "prompt"), text, WIDTH) if prompted else None
        self.second: Any = drawn_layer(nn.Conv2d, seed, (*labels, "second"), WIDTH, 1, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, features: Float[Tensor, "n c h w"], text: Float[Tensor, "n d"]) -> Float[Tensor, "n places"]:
        """Logits: one a place, or their mean alone."""
        hidden = self.first(features.float())
        if self.prompt is not None:
            hidden = hidden + self.prompt(text.float())[:, :, None, None]
        found = self.second(self.act(hidden)).flatten(1)
        return found if self.places else found.mean(1, keepdim=True)


class HeadPool(nn.Module):
    """Heads by number: they take turns in the range of noise, the block, the prompt, and whether places are judged."""

    def __init__(self, count: int, channels: Sequence[int], text: int, seed: int):
        """`channels` of each block whose output is judged."""
        super().__init__()
        self.channels, self.text, self.seed = tuple(channels), text, seed
        self.heads = nn.ModuleList(self.fresh(number, 0) for number in range(count))

    def fresh(self, number: int, age: int) -> PoolHead:
        """Head `number` as it is drawn at update `age`."""
        kinds = number // (RANGES * len(self.channels))
        channels = self.channels[self.block(number)]
        kind = {"prompted": kinds % 2 == 1, "places": kinds // 2 % 2 == 1}
        return PoolHead(channels, self.text, self.seed, ("head", number, age), **kind)

    def range(self, number: int) -> int:
        """Range of timesteps that a head judges in, 0 for the least noise."""
        return number % RANGES

    def block(self, number: int) -> int:
        """Block whose output a head judges."""
        return number // RANGES % len(self.channels)

    def forward(
        self, judging: Sequence[int], features: Sequence[Tensor], text: Float[Tensor, "n d"], ranges: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """For each judging head whose range there is, the rows that it judges, and its logits for them."""
        found = []
        for number in judging:
            rows = (ranges == self.range(number)).nonzero()[:, 0]
            if len(rows):
                found.append((rows, self.heads[number](features[self.block(number)][rows], text[rows])))
        return found


def judged_blocks(model: LatentDiffusion) -> list[nn.Module]:
    """The denoiser's middle block and the next one."""
    return middle_blocks(model, 2)


def block_channels(model: LatentDiffusion) -> list[int]:
    """Channels of their outputs, of which both are at the denoiser's deepest width."""
    return [middle_channels(model)] * 2
