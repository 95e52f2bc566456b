"""TarFlow: an autoregressive normalising flow of causal transformers over the patches of a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from intaglio.models.flow.config import TarFlowConfig

UNLABELLED = -1
"""The label of a picture without a class."""
NORMAL_CONSTANT = 0.5 * math.log(2 * math.pi)
"""Nats a dimension: the constant of minus the standard normal log-density."""
PIXEL_CONSTANT = math.log(128)
"""Nats a dimension: minus the logarithm of the width of an 8-bit level in [-1, 1], which is 2 / 256."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """Latents of pictures, with the log-determinant of the map to them."""

    latents: Float[Tensor, "n t c"]
    """Standard normal, if the model is right."""
    log_determinant: Float[Tensor, "n"]
    """Logarithm of the Jacobian's absolute determinant, divided by the number of dimensions T C."""
    hidden: tuple[Float[Tensor, "n t c"], ...]
    """h_0 (the patches) to h_K (the latents), K + 1 in all."""


class LayerCache:
    """Key-value cache of one layer: buffers for all T positions, written in windows.

    Writing at `start` overwrites what stood there, so that a window is withdrawn by writing over it.
    """

    def __init__(self, keys: Float[Tensor, "n heads t dh"], values: Float[Tensor, "n heads t dh"]):
        self._keys, self._values = keys, values

    def update(
        self, start: int, key: Float[Tensor, "n heads w dh"], value: Float[Tensor, "n heads w dh"]
    ) -> tuple[Float[Tensor, "n heads s dh"], Float[Tensor, "n heads s dh"]]:
        """Store keys and values of the positions start..start+w-1; returns those of 0..start+w-1 (s = start + w)."""
        stop = start + key.shape[2]
        self._keys[:, :, start:stop] = key
        self._values[:, :, start:stop] = value
        return self._keys[:, :, :stop], self._values[:, :, :stop]


BlockCache = Sequence[LayerCache]
"""Key-value caches of all layers of a block."""
Parameters = tuple[Float[Tensor, "n w c"], Float[Tensor, "n w c"]]
"""Log-scales a and shifts b of w patches."""


class WideLayerNorm(nn.LayerNorm):
    """Layer normalisation computed in float32 or better, whatever the weights' type."""

    def forward(self, input: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """As `nn.LayerNorm`."""
        wide = torch.promote_types(input.dtype, torch.float32)
        if wide == input.dtype:
            return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)
        weight, bias = self.weight.to(wide), self.bias.to(wide)
        return functional.layer_norm(input.to(wide), self.normalized_shape, weight, bias, self.eps).to(input.dtype)


class TransformerLayer(nn.Module):
    """Pre-norm causal attention, then a pre-norm MLP, each added to what came in."""

    def __init__(self, config: TarFlowConfig):
        super().__init__()
        width, eps = config.hidden_size, config.norm_eps
        self.heads, self.head_dim = width // config.head_dim, config.head_dim
        self.attention_norm, self.mlp_norm = WideLayerNorm(width, eps=eps), WideLayerNorm(width, eps=eps)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen = nn.Linear(width, config.mlp_ratio * width)
        self.narrow = nn.Linear(config.mlp_ratio * width, width)

    def forward(
        self,
        e: Float[Tensor, "n w d"],
        start: int = 0,
        cache: LayerCache | None = None,
        query_scale: Float[Tensor, "n 1 1 1"] | None = None,
        mask: Bool[Tensor, "w s"] | None = None,
    ) -> Float[Tensor, "n w d"]:
        """Outputs of the positions start..start+w-1, each attending to itself and all before it.

        Those before `start` are attended to through `cache`; `mask` is needed where w > 1 and start > 0, and is causal
        otherwise. `query_scale` multiplies the queries of each row: an inverse attention temperature.
        """
        n, w, d = e.shape
        heads = self.qkv(self.attention_norm(e)).view(n, w, 3, self.heads, self.head_dim)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        if cache is not None:
            key, value = cache.update(start, key, value)
        if query_scale is not None:
            query = query * query_scale
        causal = mask is None and w > 1
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        e = e + self.proj(seen.transpose(1, 2).reshape(n, w, d))
        return e + self.narrow(functional.gelu(self.widen(self.mlp_norm(e))))


class MetaBlock(nn.Module):
    """One affine autoregressive flow: each patch shifted and scaled by functions of the patches before it.

    With u the input and v the output, in the block's own order of the patches, (a, b) a function of u_0..u_{l-1}:

        v_l = (u_l - b_l) * exp(-a_l),     a_0 = b_0 = 0

    Source: arXiv 2412.06329.
    """

    def __init__(self, config: TarFlowConfig, index: int):
        super().__init__()
        self.config, self.index = config, index
        self.flipped = index % 2 == 1
        """Whether the block reads the patches from the last to the first."""
        d, c = config.hidden_size, config.token_width
        self.proj_in = nn.Linear(c, d)
        self.positions = nn.Parameter(torch.randn(config.tokens, d) * 1e-2)
        self.classes = nn.Parameter(torch.randn(config.num_classes, d) * 1e-2) if config.num_classes else None
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.layers_per_block[index]))
        self.proj_out = nn.Linear(d, 2 * c if config.nvp else c)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.proj_in.weight.dtype

    def permuted(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """Into the block's own order, or back: a reversal is its own inverse."""
        return tokens.flip(1) if self.flipped else tokens

    def offset(self, labels: Int64[Tensor, "n"] | None) -> Float[Tensor, "m t d"]:
        """Embeddings added to the projected patches: positions, and classes; m = 1 where all pictures have the same.

        A picture without a label gets the mean of all classes. None is no label for all.
        """
        positions = self.positions.flip(0) if self.flipped else self.positions
        if self.classes is None:
            return positions[None]
        mean = self.classes.mean(0, keepdim=True)
        if labels is None:
            return (positions + mean)[None]
        rows = torch.where((labels < 0)[:, None], mean, self.classes[labels.clamp(min=0)])
        return positions[None] + rows[:, None]

    def cache(self, n: int) -> BlockCache:
        """Empty key-value caches for n rows."""
        config, weight = self.config, self.proj_in.weight
        shape = (n, config.hidden_size // config.head_dim, config.tokens, config.head_dim)
        return [LayerCache(weight.new_zeros(shape), weight.new_zeros(shape)) for _ in self.layers]

    def parameters_after(
        self,
        u: Float[Tensor, "n w c"],
        offset: Float[Tensor, "m w d"],
        start: int = 0,
        cache: BlockCache | None = None,
        query_scale: Float[Tensor, "n 1 1 1"] | None = None,
        mask: Bool[Tensor, "w s"] | None = None,
    ) -> tuple[Float[Tensor, "n w c"], Float[Tensor, "n w c"]]:
        """Log-scales a and shifts b of the positions start+1..start+w, from the patches at start..start+w-1.

        Args:
            u: the patches, in the block's own order.
            offset: the rows of `offset()` at these positions.
            start: position of the first patch.
            cache: keys and values of the patches before `start`; those of these patches are added.
            query_scale: of each row, multiplies the queries.
            mask: True where a patch may attend to another; None is causal, for start 0 or w 1.
        """
        e = self.proj_in(u.to(self.dtype)) + offset
        for index, layer in enumerate(self.layers):
            e = layer(e, start, None if cache is None else cache[index], query_scale, mask)
        out = self.proj_out(e).to(u.dtype)
        if not self.config.nvp:
            return torch.zeros_like(out), out
        raw, shift = out.chunk(2, dim=-1)
        return self._log_scale(raw), shift

    def forward(
        self, h: Float[Tensor, "n t c"], labels: Int64[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, "n t c"], Float[Tensor, "n"]]:
        """The output v of an input u, both in raster order, and the log-determinant a dimension of each picture."""
        u = self.permuted(h)
        a, b = self.parameters_after(u, self.offset(labels))
        a, b = (functional.pad(part[:, :-1], (0, 0, 1, 0)) for part in (a, b))
        return self.permuted((u - b) * torch.exp(-a)), -a.mean(dim=(1, 2))

    def _log_scale(self, raw: Float[Tensor, "n w c"]) -> Float[Tensor, "n w c"]:
        limit = self.config.soft_clip
        if limit is not None:
            raw = limit * torch.tanh(raw / limit)
        return raw if self.config.scale_param == "exp" else functional.softplus(raw + math.log(math.e - 1)).log()


class TarFlow(nn.Module):
    """A stack of K affine autoregressive flows on patches, from pictures in [-1, 1] to standard normal latents.

    Source: arXiv 2412.06329. Weights may be bfloat16; patches, log-scales and shifts are float32, or float64 in a
    model of float64.
    """

    def __init__(self, config: TarFlowConfig):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(MetaBlock(config, index) for index in range(config.num_blocks))
        self.variance: Tensor
        self.register_buffer("variance", torch.ones(config.tokens, config.token_width))

    def block(self, index: int) -> MetaBlock:
        """Block `index` of 0..K-1; decoding goes from the last to the first."""
        return cast(MetaBlock, self.blocks[index])

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.variance.device

    @property
    def working_dtype(self) -> torch.dtype:
        """Type of patches, latents, log-scales and shifts."""
        return torch.promote_types(self.block(0).dtype, torch.float32)

    def patches(self, pictures: Float[Tensor, "n ch h w"]) -> Float[Tensor, "n t c"]:
        """Patches in raster order, each flattened as channel, row, column. Raises `ValueError` for another size."""
        config = self.config
        wanted = (config.in_channels, *config.image_size)
        if tuple(pictures.shape[1:]) != wanted:
            raise ValueError(f"pictures must be [n, {', '.join(map(str, wanted))}], not {list(pictures.shape)}")
        (rows, columns), p = config.grid, config.patch_size
        cut = pictures.reshape(-1, config.in_channels, rows, p, columns, p)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(len(pictures), config.tokens, config.token_width)

    def pictures(self, patches: Float[Tensor, "n t c"]) -> Float[Tensor, "n ch h w"]:
        """Pictures of patches: the inverse of `patches`."""
        config, p = self.config, self.config.patch_size
        (rows, columns), n = config.grid, len(patches)
        cut = patches.reshape(n, rows, columns, config.in_channels, p, p).permute(0, 3, 1, 4, 2, 5)
        return cut.reshape(n, config.in_channels, *config.image_size)

    def forward(self, pictures: Float[Tensor, "n ch h w"], labels: Int64[Tensor, "n"] | None = None) -> Encoding:
        """Latents and log-determinant of pictures in [-1, 1]; `labels` are classes, -1 for none."""
        h = self.patches(pictures.to(self.working_dtype))
        hidden, total = [h], h.new_zeros(len(h))
        for index in range(self.config.num_blocks):
            h, log_determinant = self.block(index)(h, labels)
            hidden.append(h)
            total = total + log_determinant
        return Encoding(h, total, tuple(hidden))

    def loss(self, encoding: Encoding) -> Float[Tensor, "n"]:
        """Negative log-likelihood in nats a dimension, less ln(2 pi) / 2: the training loss.

        Without scales (`nvp` off) the prior is taken as standard normal, as in training.
        """
        return 0.5 * encoding.latents.square().mean(dim=(1, 2)) - encoding.log_determinant

    def nats(self, encoding: Encoding) -> Float[Tensor, "n"]:
        """Negative log-likelihood in nats a dimension, under the prior's own variance."""
        wide = 0.5 * (encoding.latents.square() / self.variance + self.variance.log()).mean(dim=(1, 2))
        return wide + NORMAL_CONSTANT - encoding.log_determinant

    def bits_per_dimension(
        self, pictures: Float[Tensor, "n ch h w"], labels: Int64[Tensor, "n"] | None = None
    ) -> Float[Tensor, "n"]:
        """Bits a dimension of 8-bit pictures that were dequantised into [-1, 1], each level 2 / 256 wide.

        A model trained with Gaussian noise gives those of noisy pictures, which are not comparable with others.
        """
        return (self.nats(self(pictures, labels)) + PIXEL_CONSTANT) / math.log(2)

    def score(
        self, pictures: Float[Tensor, "n ch h w"], labels: Int64[Tensor, "n"] | None = None
    ) -> Float[Tensor, "n ch h w"]:
        """The score: gradient of each picture's log-likelihood in nats with respect to its pixels."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = pictures.detach().to(self.working_dtype).clone().requires_grad_(True)
            dimensions = leaf[0].numel()
            (gradient,) = torch.autograd.grad(-dimensions * self.nats(self(leaf, labels)).sum(), leaf)
        return gradient


@torch.no_grad()
def fresh_flow(config: TarFlowConfig, source: torch.Generator) -> TarFlow:
    """A model of random weights that is the identity: every block's output projection is 0."""
    with torch.device("meta"):
        model = TarFlow(config)
    model.to_empty(device="cpu")
    model.variance.fill_(1.0)
    for index in range(config.num_blocks):
        block = model.block(index)
        _draw(block.proj_in, source)
        block.positions.copy_(1e-2 * torch.randn(block.positions.shape, generator=source))
        if block.classes is not None:
            block.classes.copy_(1e-2 * torch.randn(block.classes.shape, generator=source))
        for layer in (cast(TransformerLayer, layer) for layer in block.layers):
            for norm in (layer.attention_norm, layer.mlp_norm):
                nn.init.ones_(norm.weight)
                nn.init.zeros_(norm.bias)
            for linear in (layer.qkv, layer.proj, layer.widen, layer.narrow):
                _draw(linear, source)
        _draw(block.proj_out, source)
        nn.init.zeros_(block.proj_out.weight)
        nn.init.zeros_(block.proj_out.bias)
    return model


def _draw(linear: nn.Linear, source: torch.Generator) -> None:
    """Draw weights and bias uniformly within 1 / sqrt(fan-in), as torch's layers begin."""
    bound = 1 / math.sqrt(linear.in_features)
    for tensor in (linear.weight, linear.bias):
        nn.init.uniform_(tensor, -bound, bound, generator=source)


@torch.no_grad()
def denoised(
    model: TarFlow,
    pictures: Float[Tensor, "n ch h w"],
    labels: Int64[Tensor, "n"] | None = None,
    *,
    strength: float = 1.0,
    batch: int = 16,
) -> Float[Tensor, "n ch h w"]:
    """Denoise by Tweedie's formula, x + strength sigma^2 grad log p(x), with sigma the model's training noise.

    Pictures are in [-1, 1]; a model with `noise_std` 0 leaves them as they are. Denoising also hides errors of a
    decoder, so those are measured before it. `batch` pictures are in memory at once. Source: arXiv 2412.06329.
    """
    variance = strength * model.config.noise_std**2
    if not variance or not len(pictures):
        return pictures
    parts: Sequence[Tensor] = pictures.split(batch)
    classes = [None] * len(parts) if labels is None else labels.split(batch)
    return torch.cat([part + variance * model.score(part, own) for part, own in zip(parts, classes, strict=True)])
