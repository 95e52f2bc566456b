"""`Flux1`: FLUX.1 dev and schnell, a transformer of two streams and then one, which is told the guidance scale."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int, Real
from torch import Tensor

from intaglio.models.diffusion.baked_sampling import BakedSampling
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
from intaglio.models.diffusion.families.packing import image_places, packed, unpacked
from intaglio.models.diffusion.families.rotations import rotation_reasons
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, attention_rows, blocks_in, first_of

WORDS, WORDS_SCHNELL = 512, 256
"""Tokens of a prompt for T5, padding included, which is attended to."""

GUIDED = BakedSampling(guidance="input", scales=(1.0, 30.0), usual=3.5)
"""The sampling of the kind that takes the guidance scale."""
UNGUIDED = BakedSampling(guidance="baked", scales=(1.0, 1.0))
"""The sampling of the kind without guidance."""


_BLOCK, _SINGLE, _EMBED = "transformer_blocks.#", "single_transformer_blocks.#", "time_text_embed"
NAMES = OriginalNames(
    rows=(
        (f"{_BLOCK}.attn.to_out.0", "double_blocks.#.img_attn.proj"),
        (f"{_BLOCK}.attn.to_add_out", "double_blocks.#.txt_attn.proj"),
        (f"{_BLOCK}.attn.norm_q.weight", "double_blocks.#.img_attn.norm.query_norm.scale"),
        (f"{_BLOCK}.attn.norm_k.weight", "double_blocks.#.img_attn.norm.key_norm.scale"),
        (f"{_BLOCK}.attn.norm_added_q.weight", "double_blocks.#.txt_attn.norm.query_norm.scale"),
        (f"{_BLOCK}.attn.norm_added_k.weight", "double_blocks.#.txt_attn.norm.key_norm.scale"),
        (f"{_BLOCK}.ff.net.0.proj", "double_blocks.#.img_mlp.0"),
        (f"{_BLOCK}.ff.net.2", "double_blocks.#.img_mlp.2"),
        (f"{_BLOCK}.ff_context.net.0.proj", "double_blocks.#.txt_mlp.0"),
        (f"{_BLOCK}.ff_context.net.2", "double_blocks.#.txt_mlp.2"),
        (f"{_BLOCK}.norm1.linear", "double_blocks.#.img_mod.lin"),
        (f"{_BLOCK}.norm1_context.linear", "double_blocks.#.txt_mod.lin"),
        (f"{_SINGLE}.proj_out", "single_blocks.#.linear2"),
        (f"{_SINGLE}.norm.linear", "single_blocks.#.modulation.lin"),
        (f"{_SINGLE}.attn.norm_q.weight", "single_blocks.#.norm.query_norm.scale"),
        (f"{_SINGLE}.attn.norm_k.weight", "single_blocks.#.norm.key_norm.scale"),
        ("x_embedder", "img_in"),
        ("context_embedder", "txt_in"),
        (f"{_EMBED}.timestep_embedder.linear_1", "time_in.in_layer"),
        (f"{_EMBED}.timestep_embedder.linear_2", "time_in.out_layer"),
        (f"{_EMBED}.text_embedder.linear_1", "vector_in.in_layer"),
        (f"{_EMBED}.text_embedder.linear_2", "vector_in.out_layer"),
        (f"{_EMBED}.guidance_embedder.linear_1", "guidance_in.in_layer"),
        (f"{_EMBED}.guidance_embedder.linear_2", "guidance_in.out_layer"),
        ("norm_out.linear", "final_layer.adaLN_modulation.1"),
        ("proj_out", "final_layer.linear"),
    ),
    joined=(
        *attention_rows(
            _BLOCK, (("attn.to_*", "double_blocks.#.img_attn.qkv"), ("attn.add_*_proj", "double_blocks.#.txt_attn.qkv"))
        ),
        *attention_rows(_SINGLE, (("attn.to_*", "single_blocks.#.linear1"),)),
        (f"{_SINGLE}.proj_mlp", "single_blocks.#.linear1", 3),
    ),
    swapped=("norm_out.linear",),
)
"""Names in the code of FLUX.1."""


class Flux1(Family):
    """A `FluxTransformer2DModel`, which reads T5, and of CLIP the pooled embedding alone.

    The `dev` kind takes the guidance scale as an input and makes one prediction a step; where a conditioning names no
    scale it is told 1, as in training. `schnell` has no guidance.
    """

    name = "FLUX.1"
    key = "flux1"
    denoiser = "FluxTransformer2DModel"
    pipelines = ("FluxPipeline",)
    original_names = NAMES
    kohya_text = ("lora_te1_", "lora_te3_")
    shifts = True
    side_of_autoencoder = True
    texts = (TextSlot("CLIPTextModel"), TextSlot("T5EncoderModel", "T5Tokenizer"))
    targets = (*Family.targets, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    further_targets = (*Family.further_targets, "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", "proj_out")

    def setting_reasons(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Rotations that do not fit the heads."""
        yield from rotation_reasons(config, "axes_dims_rope", 3, config["attention_head_dim"])

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Kinds that take pictures besides text, and widths that do not fit each other."""
        config, encoders = parts.denoiser.config, parts.text_encoders
        cells, given = 4 * self.latent_channels(parts.autoencoder), config["in_channels"]
        if given in (6 * cells, 2 * cells) and cells == 64:
            kind = "FLUX.1 Fill" if given == 6 * cells else "a FLUX.1 control model"
            yield f"it takes pictures besides text ({kind})"
        if given != cells or (config.get("out_channels") or given) != cells:
            yield f"its denoiser takes {given} numbers a token where four cells of the latents have {cells}"
        if len(encoders) != 2:
            yield f"it has {len(encoders)} text encoders where CLIP and T5 are due"
            return
        if encoders[0].config.hidden_size != config["pooled_projection_dim"]:
            taken = config["pooled_projection_dim"]
            yield f"its CLIP pools to {encoders[0].config.hidden_size} numbers where {taken} are taken"
        if encoders[1].config.d_model != config["joint_attention_dim"]:
            taken = config["joint_attention_dim"]
            yield f"its T5 gives {encoders[1].config.d_model} numbers a token where the denoiser takes {taken}"

    def pipeline(self, parts: Parts) -> Pipeline:
        """Without an image encoder."""
        return Pipeline("FluxPipeline", ("feature_extractor", "image_encoder"))

    def sampling(self, parts: Parts) -> BakedSampling:
        """Guidance as an input, or none."""
        return GUIDED if parts.denoiser.config["guidance_embeds"] else UNGUIDED

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path, whose shift grows with the picture where the settings say so."""
        return straight_schedule(config, flow_grid(config, "even", tokens, source), source)

    def prompt_length(self, index: int, parts: Parts) -> int:
        """For T5 512, and 256 without a guidance input."""
        if index == 0:
            return super().prompt_length(index, parts)
        return WORDS if parts.denoiser.config["guidance_embeds"] else WORDS_SCHNELL

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Rows of T5, and the pooled embedding of CLIP."""
        clip, words = parts.text_encoders
        pooled = clip(tokens[0].to(clip.device)).pooler_output.float()
        return Conditioning(words(tokens[1].to(words.device))[0].float().to(pooled.device), pooled)

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depths, widths, and whether the guidance scale is taken."""
        return {
            **like,
            **stream_sizes(shapes),
            "pooled_projection_dim": first_of(shapes, "vector_in.in_layer.weight")[1],
            "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
        }

    def inputs(self, denoiser: Any, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings with their places, the pooled embedding, and the guidance scale where it is taken."""
        dtype, hidden = next(denoiser.parameters()).dtype, conditioning.hidden
        if conditioning.pooled is None:
            raise ValueError("a conditioning of FLUX.1 has pooled embeddings")
        scales = conditioning.guidance
        if scales is None:
            scales = hidden.new_ones(len(hidden))
        return {
            "encoder_hidden_states": hidden.to(dtype),
            "pooled_projections": conditioning.pooled.to(dtype),
            "txt_ids": hidden.new_zeros(hidden.shape[1], 3),
            "guidance": scales.float() if denoiser.config["guidance_embeds"] else None,
        }

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Packed latents with their places; the denoiser is told s."""
        places = image_places(latents.shape[-2], latents.shape[-1], inputs["txt_ids"])
        return packed(latents), {"timestep": share_of_noise(t), "img_ids": places, **inputs}

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Unpacked."""
        return unpacked(found, latents.shape[-2], latents.shape[-1])

    def side(self, parts: Parts) -> int:
        """By the pixels that the autoencoder's `sample_size` says."""
        return stated_side(self, parts.autoencoder)


def stream_sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Depths and widths of both streams in a single file, by the shapes of its weights under their published names."""
    head = first_of(shapes, "double_blocks.0.img_attn.norm.query_norm.scale", 1)[0]
    return {
        "in_channels": first_of(shapes, "img_in.weight")[1],
        "out_channels": None,
        "num_layers": blocks_in(shapes, "double_blocks"),
        "num_single_layers": blocks_in(shapes, "single_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": first_of(shapes, "img_in.weight")[0] // max(1, head),
        "joint_attention_dim": first_of(shapes, "txt_in.weight")[1],
    }
