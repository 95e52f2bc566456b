"""`AuraFlow`: AuraFlow, a transformer of two streams and then one, which reads Pile-T5."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.family import (
    Family,
    Parts,
    Pipeline,
    TextSlot,
    share_of_noise,
    stated_side,
    straight_schedule,
)
from intaglio.models.diffusion.families.flux1 import Flux1
from intaglio.models.diffusion.families.masked_t5 import masked_t5
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, blocks_in, first_of

WORDS = 256
"""Tokens of a prompt, padding included, which is attended to as zeros."""

_BLOCK, _SINGLE = "joint_transformer_blocks.#", "single_transformer_blocks.#"
_FORWARD = (("linear_1", "c_fc1"), ("linear_2", "c_fc2"), ("out_projection", "c_proj"))


def _block_rows() -> Iterator[tuple[str, str]]:
    for forward, stream in (("ff", "mlpX"), ("ff_context", "mlpC")):
        yield from ((f"{_BLOCK}.{forward}.{name}", f"double_layers.#.{stream}.{other}") for name, other in _FORWARD)
    yield from ((f"{_SINGLE}.ff.{name}", f"single_layers.#.mlp.{other}") for name, other in _FORWARD)
    for letter in "qkv":
        yield f"{_BLOCK}.attn.to_{letter}", f"double_layers.#.attn.w2{letter}"
        yield f"{_BLOCK}.attn.add_{letter}_proj", f"double_layers.#.attn.w1{letter}"
        yield f"{_SINGLE}.attn.to_{letter}", f"single_layers.#.attn.w1{letter}"


NAMES = OriginalNames(
    rows=(
        *_block_rows(),
        (f"{_BLOCK}.attn.to_out.0", "double_layers.#.attn.w2o"),
        (f"{_BLOCK}.attn.to_add_out", "double_layers.#.attn.w1o"),
        (f"{_BLOCK}.norm1.linear", "double_layers.#.modX.1"),
        (f"{_BLOCK}.norm1_context.linear", "double_layers.#.modC.1"),
        (f"{_SINGLE}.attn.to_out.0", "single_layers.#.attn.w1o"),
        (f"{_SINGLE}.norm1.linear", "single_layers.#.modCX.1"),
        ("time_step_proj.linear_1", "t_embedder.mlp.0"),
        ("time_step_proj.linear_2", "t_embedder.mlp.2"),
        ("context_embedder", "cond_seq_linear"),
        ("pos_embed.proj", "init_x_linear"),
        ("pos_embed.pos_embed", "positional_encoding"),
        ("register_tokens", "register_tokens"),
        ("norm_out.linear", "modF.1"),
        ("proj_out", "final_linear"),
    ),
    swapped=("norm_out.linear",),
)
"""Names in the code of AuraFlow."""


class AuraFlow(Family):
    """An `AuraFlowTransformer2DModel` (https://blog.fal.ai/auraflow), with the autoencoder of SDXL.

    It sees 256 rows of Pile-T5 for every prompt, of which those of padding are zeros.
    """

    name = "AuraFlow"
    key = "auraflow"
    denoiser = "AuraFlowTransformer2DModel"
    pipelines = ("AuraFlowPipeline",)
    original_names = NAMES
    texts = (TextSlot("UMT5EncoderModel", "LlamaTokenizer"),)
    targets = Flux1.targets
    further_targets = tuple(f"{forward}.{name}" for forward in ("ff", "ff_context") for name, _ in _FORWARD)

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Channels, widths and places that do not fit each other."""
        config, channels = parts.denoiser.config, self.latent_channels(parts.autoencoder)
        if (config["in_channels"], config["out_channels"]) != (channels, channels):
            taken = f"{config['in_channels']} to {config['out_channels']}"
            yield f"its denoiser goes from {taken} channels where the autoencoder's latents have {channels}"
        given, taken = parts.text_encoders[0].config.d_model, config["joint_attention_dim"]
        if given != taken:
            yield f"its text encoder gives {given} numbers a token where the denoiser takes {taken}"
        made, width = config["caption_projection_dim"], config["num_attention_heads"] * config["attention_head_dim"]
        if made != width:
            yield f"its denoiser makes {made} numbers of a token of text, {width} of one of the picture"
        if (side := self.side(parts)) % (patch := config["patch_size"]):
            yield f"its patches of {patch} cells do not divide its side of {side}"
        if parts.tokenizers[0].pad_token_id is None:
            yield "its tokenizer has no token for padding"

    def pipeline(self, parts: Parts) -> Pipeline:
        """With every component."""
        return Pipeline("AuraFlowPipeline")

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path, whose shift acts on the least noise level too."""
        return straight_schedule(config, flow_grid(config, "smallest", tokens, source), source)

    def prompt_length(self, index: int, parts: Parts) -> int:
        """256."""
        return WORDS

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Last hidden states, zeros at padding."""
        hidden, mask = masked_t5(parts, tokens[0])
        return Conditioning(hidden * mask[:, :, None])

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depths and widths; the width of a head is as in the base."""
        width, numbers = first_of(shapes, "init_x_linear.weight")
        cells = max(1, like["patch_size"] ** 2)
        return {
            **like,
            "in_channels": numbers // cells,
            "out_channels": first_of(shapes, "final_linear.weight")[0] // cells,
            "num_mmdit_layers": blocks_in(shapes, "double_layers"),
            "num_single_dit_layers": blocks_in(shapes, "single_layers"),
            "num_attention_heads": width // max(1, like["attention_head_dim"]),
            "caption_projection_dim": first_of(shapes, "cond_seq_linear.weight")[0],
            "joint_attention_dim": first_of(shapes, "cond_seq_linear.weight")[1],
            "pos_embed_max_size": first_of(shapes, "positional_encoding", 3)[1],
        }

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings."""
        return {"encoder_hidden_states": conditioning.hidden.to(next(denoiser.parameters()).dtype)}

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Latents as they are; the denoiser is told s."""
        return latents, {"timestep": share_of_noise(t), **inputs}

    def side(self, parts: Parts) -> int:
        """By the pixels that the autoencoder's `sample_size` says, and no more than the denoiser has places for.

        The denoiser's `sample_size` is that of an earlier stage of its training: its pipeline draws 1024 pixels.
        """
        config = parts.denoiser.config
        places = config["patch_size"] * math.isqrt(config["pos_embed_max_size"])
        return min(stated_side(self, parts.autoencoder), places)
