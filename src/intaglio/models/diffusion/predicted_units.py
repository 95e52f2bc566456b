"""Hidden units of a U-Net that small predictors choose for each picture: only these take part in the next layer.

The units are those that a feed-forward part puts into its last layer, and the channels that a residual block puts into
its second convolution: behind the last norm, so that leaving some out changes no others. A predictor is an ordinary
linear layer of the block, saved, hashed and copied as any other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from jaxtyping import Bool, Float
from torch import Tensor, nn

SETTING = "predicted_units"
"""Entry of a U-Net's config with the names of the blocks that have a predictor."""
FIRST = 2.0
"""First bias of a predictor, whose other weights begin at 0: it keeps every unit."""


class UnitPredictor(nn.Linear):
    """Logits of the units of a block, from what the block is given."""


class UnitMask(nn.Module):
    """Leaves out units by their logits; no gradient reaches the logits."""

    def forward(
        self, units: Float[Tensor, "n u *places"], logits: Float[Tensor, "n u"]
    ) -> Float[Tensor, "n u *places"]:
        """The units times 1 where they are kept, and 0 elsewhere."""
        kept = kept_units(logits).to(units.dtype)
        return units * kept.reshape(*kept.shape, *[1] * (units.ndim - 2))


class PredictedResidual(ResnetBlock2D):
    """A residual block whose second convolution takes predicted channels only."""

    predictor: UnitPredictor
    mask: UnitMask

    def forward(self, input_tensor: Tensor, temb: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """The output of the block; one picture without gradients computes the kept channels alone."""
        time = None if temb is None else self.nonlinearity(temb)
        about = [input_tensor.mean((2, 3))] + ([] if time is None else [time])
        logits = self.predictor(torch.cat(about, 1).detach())
        hidden = self.conv1(self.nonlinearity(self.norm1(input_tensor)))
        if self.time_emb_proj is not None and time is not None:
            hidden = hidden + self.time_emb_proj(time)[:, :, None, None]
        hidden = self.dropout(self.nonlinearity(self.norm2(hidden)))
        if self.conv_shortcut is not None:
            input_tensor = self.conv_shortcut(input_tensor)
        return (input_tensor + self._second(hidden, logits)) / self.output_scale_factor

    def _second(self, hidden: Tensor, logits: Tensor) -> Tensor:
        places = _sliced(logits, self.conv2)
        if places is None:
            return self.conv2(self.mask(hidden, logits))
        conv: Any = self.conv2
        # By index_select: indexing the weight takes as long as the convolution.
        given, weight = hidden.index_select(1, places), conv.weight.index_select(1, places)
        return functional.conv2d(given, weight, conv.bias, conv.stride, conv.padding)


class PredictedFeedForward(FeedForward):
    """A feed-forward part of gated units that computes predicted units only."""

    predictor: UnitPredictor
    mask: UnitMask

    def forward(self, hidden_states: Float[Tensor, "n tokens d"], *args: Any, **kwargs: Any) -> Tensor:
        """The output of the part; one picture without gradients computes the kept units alone."""
        logits = self.predictor(hidden_states.mean(1).detach())
        first: Any = self.net[0]
        last: Any = self.net[2]
        places = _sliced(logits, first.proj, last)
        if places is None:
            units = self.mask(first(hidden_states).transpose(1, 2), logits).transpose(1, 2)
            for layer in list(self.net)[1:]:
                units = layer(units)
            return units
        rows = torch.cat([places, places + last.in_features])
        bias = None if first.proj.bias is None else first.proj.bias[rows]
        weight = first.proj.weight.index_select(0, rows)
        value, gate = functional.linear(hidden_states, weight, bias).chunk(2, -1)
        return functional.linear(value * first.gelu(gate), last.weight.index_select(1, places), last.bias)


def kept_units(logits: Float[Tensor, "n u"]) -> Bool[Tensor, "n u"]:
    """Units of a probability above 1/2, and of each picture at least that of the largest."""
    return (logits > 0) | functional.one_hot(logits.argmax(1), logits.shape[1]).bool()


def predictable(denoiser: nn.Module) -> list[str]:
    """Names of the blocks that can be given a predictor, and have none, in the order of the modules."""
    return [name for name, module in denoiser.named_modules() if _can_predict(module)]


def predict_units(denoiser: Any, scopes: Sequence[str]) -> None:
    """Gives blocks a predictor that keeps every unit, in place; the U-Net's config notes them.

    Raises `ValueError` for a name that is not among `predictable(denoiser)`.
    """
    known = set(predictable(denoiser))
    for scope in scopes:
        if scope not in known:
            raise ValueError(f"the U-Net has no block {scope!r} whose units could be predicted")
        _add_predictor(denoiser.get_submodule(scope))
    if scopes:
        noted = sorted({*(denoiser.config.get(SETTING) or ()), *scopes})
        denoiser.register_to_config(**{SETTING: noted})


def predictor_numbers(denoiser: nn.Module, scopes: Sequence[str]) -> int:
    """Numbers of the predictors that these blocks would have."""
    sizes = [_sizes(denoiser.get_submodule(scope)) for scope in scopes]
    return sum((given + 1) * units for given, units in sizes)


def predicted_blocks(denoiser: nn.Module) -> dict[str, Any]:
    """The blocks that have a predictor, by name."""
    kinds = (PredictedResidual, PredictedFeedForward)
    return {name: module for name, module in denoiser.named_modules() if isinstance(module, kinds)}


@contextmanager
def watched_units(denoiser: nn.Module) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """While the block runs, the mapping takes by block the units before they are left out, and their logits, of the
    last call that leaves them out by a mask.
    """
    found = dict[str, tuple[Tensor, Tensor]]()
    hooks = []
    for name, block in predicted_blocks(denoiser).items():

        def keep(module: nn.Module, given: tuple[Any, ...], name: str = name) -> None:
            found[name] = (given[0].detach(), given[1])

        hooks.append(block.mask.register_forward_pre_hook(keep))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _can_predict(module: nn.Module) -> bool:
    if isinstance(module, PredictedResidual | PredictedFeedForward):
        return False
    if isinstance(module, ResnetBlock2D):
        plain = module.time_embedding_norm == "default" and not module.skip_time_act
        same = module.upsample is None and module.downsample is None
        return plain and same and isinstance(module.norm2, nn.GroupNorm)
    return isinstance(module, FeedForward) and isinstance(module.net[0], GEGLU) and len(module.net) == 3


def _sizes(block: Any) -> tuple[int, int]:
    """Numbers that a block's predictor is given, and its units."""
    if isinstance(block, ResnetBlock2D):
        times = 0 if block.time_emb_proj is None else block.time_emb_proj.in_features
        return block.conv1.in_channels + times, block.conv2.in_channels
    return block.net[0].proj.in_features, block.net[2].in_features


def _add_predictor(block: Any) -> None:
    """The block becomes one of the same weights with a predictor."""
    given, units = _sizes(block)
    residual = isinstance(block, ResnetBlock2D)
    weight = block.conv2.weight if residual else block.net[2].weight
    block.__class__ = PredictedResidual if residual else PredictedFeedForward
    # Made without values, since a layer draws its first ones by the global generator.
    block.predictor = UnitPredictor(given, units, device="meta", dtype=weight.dtype).to_empty(device=weight.device)
    nn.init.zeros_(block.predictor.weight)
    nn.init.constant_(block.predictor.bias, FIRST)
    block.mask = UnitMask()
    block.train(block.training)


def _sliced(logits: Float[Tensor, "n u"], *layers: nn.Module) -> Tensor | None:
    """Places of the kept units where these alone are computed: for one picture, and plain layers without hooks.

    None where all are kept, where gradients are taken, and where tensors have no values.
    """
    if len(logits) != 1 or torch.is_grad_enabled() or logits.is_meta:
        return None
    if any(one._forward_hooks or one._forward_pre_hooks or type(one) not in (nn.Linear, nn.Conv2d) for one in layers):
        return None
    kept = kept_units(logits)[0]
    return None if bool(kept.all()) else kept.nonzero()[:, 0]
