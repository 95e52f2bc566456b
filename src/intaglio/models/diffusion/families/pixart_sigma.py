"""`PixArtSigma`: PixArt-Sigma, a transformer that predicts noise on a discrete schedule, and attends to T5."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.family import Family, Parts, Pipeline, TextSlot
from intaglio.models.diffusion.families.masked_t5 import masked_t5

WORDS = 300
"""Tokens of a prompt, padding included, which is not attended to."""


class PixArtSigma(Family):
    """A `PixArtTransformer2DModel` (arXiv 2403.04692), with the autoencoder of SDXL.

    Prompts are lower-cased, as in training.
    """

    name = "PixArt-Sigma"
    key = "pixart-sigma"
    denoiser = "PixArtTransformer2DModel"
    earlier_denoisers = ("Transformer2DModel",)
    pipelines = ("PixArtSigmaPipeline",)
    kohya_text = ("lora_te1_",)
    texts = (TextSlot("T5EncoderModel", "T5Tokenizer"),)

    def reasons(self, parts: Parts) -> Iterator[str]:
        """PixArt-alpha, and parts that do not fit each other."""
        config, channels = parts.denoiser.config, self.latent_channels(parts.autoencoder)
        if parts.denoiser.use_additional_conditions:
            yield "its denoiser takes the picture's size and aspect, which is PixArt-alpha"
        if parts.schedule.straight:
            yield "its scheduler is of flow matching, where the denoiser is of a discrete schedule"
        if config["in_channels"] != channels or parts.denoiser.out_channels not in (channels, 2 * channels):
            taken = f"{config['in_channels']} to {parts.denoiser.out_channels}"
            yield f"its denoiser goes from {taken} channels where the autoencoder's latents have {channels}"
        width = config["num_attention_heads"] * config["attention_head_dim"]
        if config["cross_attention_dim"] != width:
            yield f"its denoiser attends to {config['cross_attention_dim']} numbers a token where it makes {width}"
        given, taken = parts.text_encoders[0].config.d_model, config["caption_channels"] or width
        if given != taken:
            yield f"its T5 gives {given} numbers a token where the denoiser takes {taken}"
        if config["sample_size"] % config["patch_size"]:
            yield f"its patches of {config['patch_size']} cells do not divide its side of {config['sample_size']}"

    def pipeline(self, parts: Parts) -> Pipeline:
        """With every component."""
        return Pipeline("PixArtSigmaPipeline")

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """In small letters, without blanks around it."""
        return prompt.lower().strip()

    def prompt_length(self, index: int, parts: Parts) -> int:
        """300."""
        return WORDS

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Rows of T5, and which of them are no padding."""
        hidden, mask = masked_t5(parts, tokens[0])
        return Conditioning(hidden, mask=mask)

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings with their mask, and no size of the picture."""
        dtype, mask = next(denoiser.parameters()).dtype, conditioning.mask
        return {
            "encoder_hidden_states": conditioning.hidden.to(dtype),
            "encoder_attention_mask": None if mask is None else mask.to(dtype),
            "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
        }

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Latents and timesteps as they are."""
        return latents, {"timestep": t, **inputs}

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Without the channels of a predicted variance."""
        return found[:, : latents.shape[1]]

    def side(self, parts: Parts) -> int:
        """The denoiser's `sample_size`."""
        return parts.denoiser.config["sample_size"]

    def image_tokens(self, parts: Parts) -> int:
        """A token a patch."""
        return (self.side(parts) // parts.denoiser.config["patch_size"]) ** 2
