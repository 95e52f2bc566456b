"""`Flux2Klein`: FLUX.2 klein, a transformer of two streams and then one, beside a language model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.chat import as_message, template_reasons
from intaglio.models.diffusion.families.family import (
    Family,
    Parts,
    Pipeline,
    TextSlot,
    share_of_noise,
    stated_side,
    straight_schedule,
)
from intaglio.models.diffusion.families.rotations import rotation_reasons
from intaglio.models.diffusion.families.shown_tokens import tokens_shown
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import MANY_STEPS, MOST_SHIFT, flow_grid
from intaglio.models.original_names import OriginalNames, attention_rows, blocks_in, first_of

WORDS = 512
"""Tokens of a prompt, padding included, which is attended to."""
LAYERS = (9, 18, 27)
"""Hidden states of the text encoder that stand side by side."""
FEW_STEPS, MANY_TOKENS = 10, 4300
"""Steps of the other end of the line in steps, and image tokens from which on the shift is that of many steps."""
FEW_LINE, MANY_LINE = (8.73809524e-5, 1.89833333), (1.6927e-4, 0.45666666)
"""Slope in image tokens, and value at none, of mu at 10 steps and at 200."""
DISTILLED = BakedSampling(guidance="baked", scales=(1.0, 1.0))
"""The sampling of a model whose `model_index.json` says `is_distilled`."""


_BLOCK, _SINGLE, _TIME = "transformer_blocks.#", "single_transformer_blocks.#", "time_guidance_embed"
_STREAMS = (("ff", "img", "norm_", "to_out.0"), ("ff_context", "txt", "norm_added_", "to_add_out"))


def _stream_rows() -> Iterator[tuple[str, str]]:
    for forward, stream, norm, out in _STREAMS:
        yield f"{_BLOCK}.attn.{out}", f"double_blocks.#.{stream}_attn.proj"
        yield f"{_BLOCK}.attn.{norm}q.weight", f"double_blocks.#.{stream}_attn.norm.query_norm.scale"
        yield f"{_BLOCK}.attn.{norm}k.weight", f"double_blocks.#.{stream}_attn.norm.key_norm.scale"
        yield f"{_BLOCK}.{forward}.linear_in", f"double_blocks.#.{stream}_mlp.0"
        yield f"{_BLOCK}.{forward}.linear_out", f"double_blocks.#.{stream}_mlp.2"
        yield f"double_stream_modulation_{stream}.linear", f"double_stream_modulation_{stream}.lin"


NAMES = OriginalNames(
    rows=(
        *_stream_rows(),
        (f"{_SINGLE}.attn.to_qkv_mlp_proj", "single_blocks.#.linear1"),
        (f"{_SINGLE}.attn.to_out", "single_blocks.#.linear2"),
        (f"{_SINGLE}.attn.norm_q.weight", "single_blocks.#.norm.query_norm.scale"),
        (f"{_SINGLE}.attn.norm_k.weight", "single_blocks.#.norm.key_norm.scale"),
        ("single_stream_modulation.linear", "single_stream_modulation.lin"),
        ("x_embedder", "img_in"),
        ("context_embedder", "txt_in"),
        (f"{_TIME}.timestep_embedder.linear_1", "time_in.in_layer"),
        (f"{_TIME}.timestep_embedder.linear_2", "time_in.out_layer"),
        (f"{_TIME}.guidance_embedder.linear_1", "guidance_in.in_layer"),
        (f"{_TIME}.guidance_embedder.linear_2", "guidance_in.out_layer"),
        ("norm_out.linear", "final_layer.adaLN_modulation.1"),
        ("proj_out", "final_layer.linear"),
    ),
    joined=attention_rows(
        _BLOCK, (("attn.to_*", "double_blocks.#.img_attn.qkv"), ("attn.add_*_proj", "double_blocks.#.txt_attn.qkv"))
    ),
    swapped=("norm_out.linear",),
)
"""Names in the code of FLUX.2; queries, keys, values and the first layer of a single block are one module in both."""


class Flux2Klein(Family):
    """A `Flux2Transformer2DModel` without a guidance input, which reads hidden states 9, 18 and 27 of Qwen 3.

    Latents are those that the denoiser takes: 2x2 cells of the autoencoder's make one of four times the channels, of
    which the autoencoder's running mean and variance are taken out.
    """

    name = "FLUX.2 klein"
    key = "flux2"
    denoiser = "Flux2Transformer2DModel"
    autoencoder = "AutoencoderKLFlux2"
    pipelines = ("Flux2KleinPipeline",)
    original_names = NAMES
    side_of_autoencoder = True
    texts = (TextSlot("Qwen3ForCausalLM", "Qwen2Tokenizer"),)
    targets = (
        *Family.targets,
        "add_q_proj",
        "add_k_proj",
        "add_v_proj",
        "to_add_out",
        "to_qkv_mlp_proj",
        "attn.to_out",
    )
    further_targets = ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out")

    def takes(self, config: Mapping[str, Any]) -> bool:
        """Without a guidance input."""
        return config.get("guidance_embeds", True) is False

    def setting_reasons(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Rotations that do not fit the heads."""
        yield from rotation_reasons(config, "axes_dims_rope", 4, config["attention_head_dim"])

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Parts that do not fit each other."""
        config, encoders = parts.denoiser.config, parts.text_encoders
        yield from self.latent_reasons(parts)
        if len(encoders) != 1:
            yield f"it has {len(encoders)} text encoders where Qwen 3 alone is due"
            return
        given, taken = len(LAYERS) * encoders[0].config.hidden_size, config["joint_attention_dim"]
        if given != taken:
            yield f"three layers of its text encoder give {given} numbers a token where the denoiser takes {taken}"
        if encoders[0].config.num_hidden_layers < LAYERS[-1]:
            yield f"its text encoder has {encoders[0].config.num_hidden_layers} layers where {LAYERS[-1]} are due"
        yield from template_reasons(parts.tokenizers[0])

    def latent_reasons(self, parts: Parts) -> Iterator[str]:
        """Latents that are not those of the denoiser."""
        config = parts.denoiser.config
        channels = self.latent_channels(parts.autoencoder)
        if (config["in_channels"], config["out_channels"] or config["in_channels"]) != (channels, channels):
            taken = config["in_channels"]
            yield f"its denoiser takes {taken} numbers a token where four cells of the latents have {channels}"
        if list(parts.autoencoder.config["patch_size"]) != [2, 2] or config["patch_size"] != 1:
            yield "its tokens are not of 2x2 cells of the autoencoder's latents"
        elif not bool((parts.autoencoder.bn.running_var >= 0).all()):
            yield "its autoencoder has variances below 0"

    def pipeline(self, parts: Parts) -> Pipeline:
        """Undistilled, where the model does not say."""
        return Pipeline("Flux2KleinPipeline", defaults={"is_distilled": False})

    def sampling(self, parts: Parts) -> BakedSampling:
        """Without guidance for a model that says it is distilled, else of the caller's choice."""
        return DISTILLED if parts.options.get("is_distilled") else FREE

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path, whose shift depends on the picture and on the number of steps where the settings say so."""
        grid = flow_grid(config, "even", tokens, source)
        if config.get("use_dynamic_shifting"):
            few, many = (slope * tokens + value for slope, value in (FEW_LINE, MANY_LINE))
            per_step = 0.0 if tokens > MANY_TOKENS else (many - few) / (MANY_STEPS - FEW_STEPS)
            grid = replace(grid, shift=min(math.exp(many), MOST_SHIFT), per_step=per_step)
        return straight_schedule(config, grid, source)

    def image_tokens(self, parts: Parts) -> int:
        """A token a cell."""
        return self.side(parts) ** 2

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """The prompt as a message, without room for thoughts."""
        return as_message(prompt, tokenizer, thinking=False)

    def prompt_length(self, index: int, parts: Parts) -> int:
        """512."""
        return min(WORDS, super().prompt_length(index, parts))

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Three layers' hidden states side by side, those of padding too; no logits are made."""
        encoder, given = parts.text_encoders[0], tokens[0].to(parts.text_encoders[0].device)
        mask = tokens_shown(given, parts.tokenizers[0].pad_token_id)
        found = encoder.model(given, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
        return Conditioning(torch.cat([found[layer].float() for layer in LAYERS], -1))

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depths, widths, and whether the guidance scale is taken."""
        head = first_of(shapes, "double_blocks.0.img_attn.norm.query_norm.scale", 1)[0]
        width, channels = first_of(shapes, "img_in.weight")
        return {
            **like,
            "in_channels": channels,
            "out_channels": None,
            "num_layers": blocks_in(shapes, "double_blocks"),
            "num_single_layers": blocks_in(shapes, "single_blocks"),
            "attention_head_dim": head,
            "num_attention_heads": width // max(1, head),
            "joint_attention_dim": first_of(shapes, "txt_in.weight")[1],
            "mlp_ratio": first_of(shapes, "double_blocks.0.img_mlp.2.weight")[1] / max(1, width),
            "timestep_guidance_channels": first_of(shapes, "time_in.in_layer.weight")[1],
            "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
        }

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings with their places: the last of four axes counts tokens."""
        hidden = conditioning.hidden
        places = torch.zeros(hidden.shape[1], 4, device=hidden.device)
        places[:, 3] = torch.arange(hidden.shape[1])
        return {"encoder_hidden_states": hidden.to(next(denoiser.parameters()).dtype), "txt_ids": places}

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """A token a cell, with its place; the denoiser is told s."""
        height, width = latents.shape[-2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        zeros = torch.zeros_like(rows)
        places = torch.stack([zeros, rows, columns, zeros], -1).flatten(0, 1).to(inputs["txt_ids"])
        return latents.flatten(2).mT, {"timestep": share_of_noise(t), "img_ids": places, **inputs}

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """A cell a token."""
        return found.mT.reshape(latents.shape)

    def side(self, parts: Parts) -> int:
        """By the pixels that the autoencoder's `sample_size` says."""
        return stated_side(self, parts.autoencoder)

    def latent_channels(self, autoencoder: Any) -> int:
        """Four times those of the autoencoder."""
        return 4 * super().latent_channels(autoencoder)

    def factor(self, autoencoder: Any) -> int:
        """Twice that of the autoencoder."""
        return 2 * super().factor(autoencoder)

    def scaling_factor(self, autoencoder: Any) -> float:
        """One over the root of the mean variance of the channels, which have one each."""
        return 1 / float(self._statistics(autoencoder)[1].square().mean().sqrt())

    def scaled(self, autoencoder: Any, raw: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d hl wl"]:
        """Channel, row and column in the cell become the channel, in that order; then mean and deviation go."""
        mean, deviation = (column.to(raw.device, raw.dtype) for column in self._statistics(autoencoder))
        return (nn.functional.pixel_unshuffle(raw, 2) - mean) / deviation

    def unscaled(self, autoencoder: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d hl wl"]:
        """The inverse of `scaled`."""
        mean, deviation = (column.to(latents.device, latents.dtype) for column in self._statistics(autoencoder))
        return nn.functional.pixel_shuffle(latents * deviation + mean, 2)

    def _statistics(self, autoencoder: Any) -> tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "1 c 1 1"]]:
        """Mean and deviation of each channel of the latents."""
        norm = autoencoder.bn
        deviation = (norm.running_var + autoencoder.config["batch_norm_eps"]).sqrt()
        return norm.running_mean.view(1, -1, 1, 1), deviation.view(1, -1, 1, 1)
