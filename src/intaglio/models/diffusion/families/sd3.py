"""`StableDiffusion3`: Stable Diffusion 3 and 3.5, a transformer of two streams that predicts velocities."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.family import (
    Family,
    Parts,
    Pipeline,
    TextSlot,
    share_of_noise,
    straight_schedule,
)
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, attention_rows, blocks_in, first_of

WORDS = 256
"""Tokens of a prompt for T5, padding included, which is attended to."""


_BLOCK = "transformer_blocks.#"
NAMES = OriginalNames(
    rows=(
        (f"{_BLOCK}.attn.to_out.0", "joint_blocks.#.x_block.attn.proj"),
        (f"{_BLOCK}.attn.to_add_out", "joint_blocks.#.context_block.attn.proj"),
        (f"{_BLOCK}.attn.norm_q", "joint_blocks.#.x_block.attn.ln_q"),
        (f"{_BLOCK}.attn.norm_k", "joint_blocks.#.x_block.attn.ln_k"),
        (f"{_BLOCK}.attn.norm_added_q", "joint_blocks.#.context_block.attn.ln_q"),
        (f"{_BLOCK}.attn.norm_added_k", "joint_blocks.#.context_block.attn.ln_k"),
        (f"{_BLOCK}.attn2.to_out.0", "joint_blocks.#.x_block.attn2.proj"),
        (f"{_BLOCK}.attn2.norm_q", "joint_blocks.#.x_block.attn2.ln_q"),
        (f"{_BLOCK}.attn2.norm_k", "joint_blocks.#.x_block.attn2.ln_k"),
        (f"{_BLOCK}.ff.net.0.proj", "joint_blocks.#.x_block.mlp.fc1"),
        (f"{_BLOCK}.ff.net.2", "joint_blocks.#.x_block.mlp.fc2"),
        (f"{_BLOCK}.ff_context.net.0.proj", "joint_blocks.#.context_block.mlp.fc1"),
        (f"{_BLOCK}.ff_context.net.2", "joint_blocks.#.context_block.mlp.fc2"),
        (f"{_BLOCK}.norm1.linear", "joint_blocks.#.x_block.adaLN_modulation.1"),
        (f"{_BLOCK}.norm1_context.linear", "joint_blocks.#.context_block.adaLN_modulation.1"),
        ("pos_embed.proj", "x_embedder.proj"),
        ("pos_embed.pos_embed", "pos_embed"),
        ("context_embedder", "context_embedder"),
        ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
        ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
        ("norm_out.linear", "final_layer.adaLN_modulation.1"),
        ("proj_out", "final_layer.linear"),
    ),
    joined=attention_rows(
        _BLOCK,
        (
            ("attn.to_*", "joint_blocks.#.x_block.attn.qkv"),
            ("attn.add_*_proj", "joint_blocks.#.context_block.attn.qkv"),
            ("attn2.to_*", "joint_blocks.#.x_block.attn2.qkv"),
        ),
    ),
    swapped=("norm_out.linear", "transformer_blocks.#last.norm1_context.linear"),
)
"""Names in the code of Stable Diffusion 3; the last block reads the text alone, and its shift and scale are swapped."""


class StableDiffusion3(Family):
    """An `SD3Transformer2DModel` (arXiv 2403.03206), which reads two text encoders of CLIP, and T5 where it is there.

    The hidden states of both, the last but one, stand side by side and are padded with zeros to the width of T5's,
    which follow them along the tokens. Without T5 as many rows of zeros do, as in the pipeline, unless CLIP fills the
    width: then there is no room for a T5, and nothing follows.
    """

    name = "Stable Diffusion 3"
    key = "sd3"
    denoiser = "SD3Transformer2DModel"
    pipelines = ("StableDiffusion3Pipeline",)
    original_names = NAMES
    kohya_text = ("lora_te1_", "lora_te2_", "lora_te3_")
    shifts = True
    texts = (
        TextSlot("CLIPTextModelWithProjection"),
        TextSlot("CLIPTextModelWithProjection"),
        TextSlot("T5EncoderModel", "T5Tokenizer", optional=True),
    )
    targets = (*Family.targets, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    further_targets = (*Family.further_targets, "ff_context.net.0.proj", "ff_context.net.2")

    def setting_reasons(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Patches that do not fill the side, and fewer places than it has."""
        side, patch, places = config["sample_size"], config["patch_size"], config["pos_embed_max_size"]
        if side % patch:
            yield f"its patches of {patch} cells do not divide its side of {side}"
        elif side // patch > places:
            yield f"its side of {side // patch} patches has more than the {places} places of pos_embed_max_size"

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Channels and widths that do not fit each other."""
        config, encoders = parts.denoiser.config, parts.text_encoders
        channels = self.latent_channels(parts.autoencoder)
        if (config["in_channels"], config["out_channels"]) != (channels, channels):
            taken = f"{config['in_channels']} to {config['out_channels']}"
            yield f"its denoiser goes from {taken} channels where the autoencoder's latents have {channels}"
        if len(encoders) not in (2, 3):
            yield f"it has {len(encoders)} text encoders where two of CLIP are due, and T5 beside them or not"
        given, taken = sum(one.config.hidden_size for one in encoders[:2]), config["joint_attention_dim"]
        if given > taken:
            yield f"its text encoders of CLIP give {given} numbers a token where the denoiser takes {taken}"
        if len(encoders) == 3 and encoders[2].config.d_model != taken:
            yield f"its T5 gives {encoders[2].config.d_model} numbers a token where the denoiser takes {taken}"
        pooled = sum(one.config.projection_dim for one in encoders[:2])
        if pooled != config["pooled_projection_dim"]:
            yield f"its text encoders pool to {pooled} numbers where {config['pooled_projection_dim']} are taken"

    def pipeline(self, parts: Parts) -> Pipeline:
        """Without an image encoder, and without T5 where there is none."""
        missing = () if len(parts.text_encoders) == 3 else ("text_encoder_3", "tokenizer_3")
        return Pipeline("StableDiffusion3Pipeline", ("feature_extractor", "image_encoder", *missing))

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path; its grid ends at the smallest level, which is shifted once more than the others."""
        return straight_schedule(config, flow_grid(config, "smallest", tokens, source), source)

    def prompt_length(self, index: int, parts: Parts) -> int:
        """256 for T5."""
        return WORDS if index == 2 else super().prompt_length(index, parts)

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Rows of CLIP, then of T5; the pooled embeddings of both text encoders of CLIP side by side."""
        width, outputs = parts.denoiser.config["joint_attention_dim"], []
        for encoder, given in zip(parts.text_encoders[:2], tokens, strict=False):
            outputs.append(encoder(given.to(encoder.device), output_hidden_states=True))
        clip = torch.cat([output.hidden_states[-2].float() for output in outputs], -1)
        hidden = nn.functional.pad(clip, (0, width - clip.shape[-1]))
        if len(parts.text_encoders) == 3:
            encoder = parts.text_encoders[2]
            hidden = torch.cat([hidden, encoder(tokens[2].to(encoder.device))[0].float().to(hidden.device)], 1)
        elif clip.shape[-1] < width:
            hidden = torch.cat([hidden, hidden.new_zeros(len(hidden), WORDS, width)], 1)
        return Conditioning(hidden, torch.cat([output.text_embeds.float() for output in outputs], -1))

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depth, widths, the positions, and the blocks with a second attention."""
        width, channels, patch, _ = first_of(shapes, "x_embedder.proj.weight", 4)
        head, count = like["attention_head_dim"], blocks_in(shapes, "joint_blocks")
        second = [k for k in range(count) if f"joint_blocks.{k}.x_block.attn2.qkv.weight" in shapes]
        return {
            **like,
            "in_channels": channels,
            "patch_size": patch,
            "out_channels": first_of(shapes, "final_layer.linear.weight")[0] // max(1, patch**2),
            "num_layers": count,
            "num_attention_heads": width // head,
            "caption_projection_dim": width,
            "joint_attention_dim": first_of(shapes, "context_embedder.weight")[1],
            "pooled_projection_dim": first_of(shapes, "y_embedder.mlp.0.weight")[1],
            "pos_embed_max_size": round(first_of(shapes, "pos_embed", 3)[1] ** 0.5),
            "qk_norm": "rms_norm" if "joint_blocks.0.x_block.attn.ln_q.weight" in shapes else None,
            "dual_attention_layers": tuple(second),
        }

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings, and the pooled ones."""
        dtype = next(denoiser.parameters()).dtype
        if conditioning.pooled is None:
            raise ValueError("a conditioning of Stable Diffusion 3 has pooled embeddings")
        return {
            "encoder_hidden_states": conditioning.hidden.to(dtype),
            "pooled_projections": conditioning.pooled.to(dtype),
        }

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """The denoiser is told 1000 s."""
        return latents, {"timestep": 1000 * share_of_noise(t), **inputs}

    def side(self, parts: Parts) -> int:
        """The denoiser's `sample_size`."""
        return parts.denoiser.config["sample_size"]

    def image_tokens(self, parts: Parts) -> int:
        """A token a patch."""
        return (self.side(parts) // parts.denoiser.config["patch_size"]) ** 2
