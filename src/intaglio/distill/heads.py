"""Heads on the features of a denoiser, which tell noised real latents from noised drawn ones."""

from jaxtyping import Float, Real
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.learning.drawn_layer import drawn_layer
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_outputs import outputs_of

WIDTH = 64
"""Channels of a head."""
LARGEST = 10.0
"""Largest logit, either way."""


class MiddleHead(nn.Module):
    """A logit from the output of a denoiser's middle block: two convolutions, the mean over places, and a sum."""

    def __init__(self, channels: int, seed: int):
        """`channels` of the features; the weights are drawn from the seed alone."""
        super().__init__()
        self.first = drawn_layer(nn.Conv2d, seed, ("head", "first"), channels, WIDTH, 1)
        self.second = drawn_layer(nn.Conv2d, seed, ("head", "second"), WIDTH, WIDTH, 3, padding=1)
        self.last = drawn_layer(nn.Linear, seed, ("head", "last"), WIDTH, 1)
        self.act = nn.SiLU()

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """Logits, within `LARGEST`."""
        hidden = self.act(self.second(self.act(self.first(features.float()))))
        return self.last(hidden.mean((2, 3)))[:, 0].clamp(-LARGEST, LARGEST)


def refuse_no_middle(model: LatentDiffusion) -> None:
    """Raises `BadInput` for a model whose denoiser has no middle block, of which features are taken."""
    if model.denoiser.mid_block is None:
        raise BadInput(f"the denoiser of {model.name} has no middle block to take features of; distil it by guided")


def middle_channels(model: LatentDiffusion) -> int:
    """Channels of the middle block's output."""
    return int(model.denoiser.config.block_out_channels[-1])


def middle_features(
    model: LatentDiffusion, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], given: Conditioning
) -> Float[Tensor, "n f fh fw"]:
    """Output of the middle block of the model's denoiser; differentiable where gradients are on."""
    with outputs_of([model.denoiser.mid_block]) as found:
        model.predict(latents, t, given)
    return found[0]
