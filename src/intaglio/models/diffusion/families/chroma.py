"""`Chroma`: the transformer of FLUX.1 with its modulation replaced by one small network, which reads T5 alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    stated_side,
    straight_schedule,
)
from intaglio.models.diffusion.families.flux1 import NAMES as FLUX
from intaglio.models.diffusion.families.flux1 import Flux1, stream_sizes
from intaglio.models.diffusion.families.masked_t5 import masked_t5
from intaglio.models.diffusion.families.packing import image_places, packed, unpacked
from intaglio.models.diffusion.families.rotations import rotation_reasons
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, blocks_in, first_of

WORDS = 512
"""Tokens of a prompt, padding included."""

_GUIDANCE = "distilled_guidance_layer"
NAMES = OriginalNames(
    rows=(
        (f"{_GUIDANCE}.in_proj", f"{_GUIDANCE}.in_proj"),
        (f"{_GUIDANCE}.out_proj", f"{_GUIDANCE}.out_proj"),
        (f"{_GUIDANCE}.layers.#.linear_1", f"{_GUIDANCE}.layers.#.in_layer"),
        (f"{_GUIDANCE}.layers.#.linear_2", f"{_GUIDANCE}.layers.#.out_layer"),
        (f"{_GUIDANCE}.norms.#.weight", f"{_GUIDANCE}.norms.#.scale"),
        *FLUX.rows,
    ),
    joined=FLUX.joined,
)
"""Names in the code of Chroma: those of FLUX.1, and of the network in place of the modulation."""


class Chroma(Family):
    """A `ChromaTransformer2DModel`, which is told neither a pooled embedding nor a guidance scale.

    Its mask has 1 for the tokens of the prompt, the first one of padding and the image, and 0 for further padding. As
    in diffusers it is added to the logits of attention, between two tokens that have 1, so that it favours these and
    hides nothing.
    """

    name = "Chroma"
    key = "chroma"
    denoiser = "ChromaTransformer2DModel"
    pipelines = ("ChromaPipeline",)
    original_names = NAMES
    kohya_text = ("lora_te1_",)
    shifts = True
    side_of_autoencoder = True
    texts = (TextSlot("T5EncoderModel", "T5Tokenizer"),)
    targets = Flux1.targets
    further_targets = Flux1.further_targets

    def setting_reasons(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Rotations that do not fit the heads."""
        yield from rotation_reasons(config, "axes_dims_rope", 3, config["attention_head_dim"])

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Channels and widths that do not fit each other."""
        config = parts.denoiser.config
        cells, given = 4 * self.latent_channels(parts.autoencoder), config["in_channels"]
        if given != cells or (config.get("out_channels") or given) != cells:
            yield f"its denoiser takes {given} numbers a token where four cells of the latents have {cells}"
        width, taken = parts.text_encoders[0].config.d_model, config["joint_attention_dim"]
        if width != taken:
            yield f"its T5 gives {width} numbers a token where the denoiser takes {taken}"

    def pipeline(self, parts: Parts) -> Pipeline:
        """Without an image encoder."""
        return Pipeline("ChromaPipeline", ("feature_extractor", "image_encoder"))

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path, whose shift grows with the picture where the settings say so."""
        return straight_schedule(config, flow_grid(config, "even", tokens, source), source)

    def prompt_length(self, index: int, parts: Parts) -> int:
        """512."""
        return WORDS

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Rows of T5; the mask has the first token of padding too."""
        hidden, mask = masked_t5(parts, tokens[0])
        return Conditioning(hidden, mask=torch.arange(mask.shape[1], device=mask.device) <= mask.sum(1, keepdim=True))

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depths and widths."""
        hidden, told = first_of(shapes, f"{_GUIDANCE}.in_proj.weight")
        return {
            **like,
            **stream_sizes(shapes),
            "approximator_num_channels": told,
            "approximator_hidden_dim": hidden,
            "approximator_layers": blocks_in(shapes, rf"{_GUIDANCE}\.layers"),
        }

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings with their places, and their mask as numbers."""
        dtype, hidden, mask = next(denoiser.parameters()).dtype, conditioning.hidden, conditioning.mask
        return {
            "encoder_hidden_states": hidden.to(dtype),
            "txt_ids": hidden.new_zeros(hidden.shape[1], 3),
            "attention_mask": None if mask is None else mask.to(dtype),
        }

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Packed latents with their places, and the mask lengthened by them; the denoiser is told s."""
        tokens, mask = packed(latents), inputs["attention_mask"]
        if mask is not None:
            mask = nn.functional.pad(mask, (0, tokens.shape[1]), value=1.0)
        places = image_places(latents.shape[-2], latents.shape[-1], inputs["txt_ids"])
        return tokens, {**inputs, "timestep": share_of_noise(t), "img_ids": places, "attention_mask": mask}

    def output(
        self, denoiser: nn.Module, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> Float[Tensor, "n c h w"]:
        """As of other families, with the mask for blocks whose activations are recomputed."""
        first, named = self.arguments(latents, t, inputs)
        with _recomputed_with(denoiser, named["attention_mask"]):
            return self.answer(denoiser(first, **named, return_dict=False)[0], latents)

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Unpacked."""
        return unpacked(found, latents.shape[-2], latents.shape[-1])

    def side(self, parts: Parts) -> int:
        """By the pixels that the autoencoder's `sample_size` says."""
        return stated_side(self, parts.autoencoder)


@contextmanager
def _recomputed_with(denoiser: Any, mask: Tensor | None) -> Iterator[None]:
    """Gives the mask to blocks of one stream whose activations are recomputed: diffusers leaves it out there."""
    if mask is None or not denoiser.is_gradient_checkpointing:
        yield
        return
    kept, single = denoiser._gradient_checkpointing_func, set(denoiser.single_transformer_blocks)
    denoiser._gradient_checkpointing_func = lambda block, *given: kept(block, *given, *([mask] * (block in single)))
    try:
        yield
    finally:
        denoiser._gradient_checkpointing_func = kept
