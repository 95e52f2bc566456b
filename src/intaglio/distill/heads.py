"""Heads on the features of a denoiser, which tell noised real latents from noised drawn ones."""

from jaxtyping import Float, Real
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.learning.drawn_layer import drawn_layer
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.transformer_blocks import feed_forwards
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


def refuse_no_middle(model: LatentDiffusion, count: int = 1) -> None:
    """Raises `BadInput` for a model whose denoiser has too few middle blocks, of which features are taken."""
    if len(middle_blocks(model, count)) < count:
        remedy = "distil it by guided" if hasattr(model.denoiser, "mid_block") else "give a model of another family"
        raise BadInput(f"the denoiser of {model.name} has no middle block to take features of; {remedy}")


def middle_blocks(model: LatentDiffusion, count: int) -> list[nn.Module]:
    """The denoiser's middle block, and with a `count` of 2 the next one; fewer where there are fewer.

    Of a U-Net the next one is the first on the way up. Of a transformer they are the feed-forward layers of its blocks.
    """
    blocks = getattr(model.denoiser, "transformer_blocks", None)
    if blocks is not None:
        return feed_forwards(blocks[max(0, min(len(blocks) // 2, len(blocks) - count)) :][:count])
    middle = getattr(model.denoiser, "mid_block", None)
    return [] if middle is None else [middle, *model.denoiser.up_blocks][:count]


def middle_channels(model: LatentDiffusion) -> int:
    """Channels of the middle block's output."""
    blocks = getattr(model.denoiser, "transformer_blocks", None)
    if blocks is not None:
        return model.denoiser.config["num_attention_heads"] * model.denoiser.config["attention_head_dim"]
    return int(model.denoiser.config.block_out_channels[-1])


def as_map(output: Float[Tensor, "n *shape"]) -> Float[Tensor, "n c h w"]:
    """A block's output as a map of channels: rows of tokens [n, t, c] of a square picture become one."""
    if output.ndim == 4:
        return output
    side = round(output.shape[1] ** 0.5)
    return output.transpose(1, 2).unflatten(2, (side, side))


def middle_features(
    model: LatentDiffusion, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], given: Conditioning
) -> Float[Tensor, "n f fh fw"]:
    """Output of the middle block of the model's denoiser; differentiable where gradients are on."""
    with outputs_of(middle_blocks(model, 1)) as found:
        model.predict(latents, t, given)
    return as_map(found[0])
