"""`UNets`: Stable Diffusion 1, 2 and XL, whose denoiser is a U-Net that reads one or two text encoders of CLIP."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import guidance_embedding
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.config_spelling import one_spelling
from intaglio.models.diffusion.families.family import Family, Parts, Pipeline, TextSlot


class UNets(Family):
    """A U-Net of diffusers."""

    name = "Stable Diffusion 1, 2 or XL"
    key = "unet"
    denoiser = "UNet2DConditionModel"
    folder = "unet"
    pipelines = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
    further_targets = (*Family.further_targets, "proj_in", "proj_out", "conv1", "conv2")
    texts = (TextSlot("CLIPTextModel"), TextSlot("CLIPTextModelWithProjection", optional=True))

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Further inputs, such as those of inpainting models, and parts that do not fit each other."""
        config, channels = one_spelling(parts.denoiser.config), self.latent_channels(parts.autoencoder)
        if parts.schedule.straight:
            yield "its scheduler_config.json is of flow matching, where a U-Net is of a discrete schedule"
        yield from _sampling_reasons(config, parts)
        yield from _reasons(config, channels, parts.text_encoders)

    def pipeline(self, parts: Parts) -> Pipeline:
        """That of Stable Diffusion XL for two text encoders, else that of Stable Diffusion."""
        if len(parts.text_encoders) == 2:
            defaults = {"force_zeros_for_empty_prompt": True}
            return Pipeline("StableDiffusionXLPipeline", ("feature_extractor", "image_encoder"), defaults)
        absent = ("feature_extractor", "image_encoder", "safety_checker")
        return Pipeline("StableDiffusionPipeline", absent, {"requires_safety_checker": False})

    def needs_text(self, denoiser: Any, end: str) -> bool:
        """Whether it takes a pooled embedding."""
        return denoiser is not None and denoiser.config.addition_embed_type == "text_time"

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """The last hidden states of one text encoder.

        With two they are the last but one of both, joined along d, and the pooled embedding of the second, with the
        model's own resolution, uncropped, as the size.
        """
        outputs = [
            encoder(given.to(next(encoder.parameters()).device), output_hidden_states=True)
            for encoder, given in zip(parts.text_encoders, tokens, strict=True)
        ]
        if len(outputs) == 1:
            return Conditioning(outputs[0].last_hidden_state.float())
        hidden = torch.cat([output.hidden_states[-2].float() for output in outputs], -1)
        side = float(self.side(parts) * self.factor(parts.autoencoder))
        size = torch.tensor([[side, side, 0.0, 0.0, side, side]], device=hidden.device).expand(len(hidden), -1)
        return Conditioning(hidden, outputs[1].text_embeds.float(), size)

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings, and the pooled ones with the size, or the guidance scale, where the U-Net takes them."""
        dtype, added = next(denoiser.parameters()).dtype, None
        if conditioning.pooled is not None and conditioning.size is not None:
            added = {"text_embeds": conditioning.pooled.to(dtype), "time_ids": conditioning.size.to(dtype)}
        return {
            "timestep_cond": _guidance_input(denoiser, conditioning),
            "encoder_hidden_states": conditioning.hidden.to(dtype),
            "added_cond_kwargs": added,
        }

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Latents, timesteps and what it is conditioned on."""
        return latents, {"timestep": t, **inputs}

    def output(
        self, denoiser: nn.Module, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> Float[Tensor, "n c h w"]:
        """Without channels of a predicted variance."""
        return denoiser(latents, t, **inputs, return_dict=False)[0][:, : latents.shape[1]]

    def side(self, parts: Parts) -> int:
        """The U-Net's `sample_size`."""
        size = parts.denoiser.config.sample_size
        return size if isinstance(size, int) else size[0]


def _guidance_input(denoiser: Any, conditioning: Conditioning) -> Tensor | None:
    """The embedded guidance scales for a denoiser that takes them; None for others."""
    width = denoiser.config.get("time_cond_proj_dim")
    if width is None:
        return None
    scales = conditioning.guidance
    if scales is None:
        scales = conditioning.hidden.new_ones(len(conditioning))
    return guidance_embedding(scales, width).to(next(denoiser.parameters()).dtype)


def _reasons(config: Mapping[str, Any], channels: int, text_encoders: Sequence[nn.Module]) -> Iterator[str]:
    taken, given = config["in_channels"], config["out_channels"]
    if taken == 2 * channels + 1:
        yield f"its denoiser takes {taken} channels, which is an inpainting model"
    if taken != channels:
        yield f"its denoiser takes {taken} channels where the autoencoder's latents have {channels}"
    if given not in (channels, 2 * channels):
        yield f"its denoiser puts out {given} channels where the autoencoder's latents have {channels}"
    if config.get("class_embed_type") is not None or config.get("num_class_embeds") is not None:
        yield "its denoiser takes a class or an image embedding"
    if config.get("encoder_hid_dim_type") is not None or config.get("addition_embed_type") not in (None, "text_time"):
        yield "its denoiser is conditioned on an image or on another network's embedding"
    if (size := config.get("sample_size")) is None or (not isinstance(size, int) and len(set(size)) != 1):
        yield "the sample_size in its denoiser's config.json is not one number, so its resolution is unknown"
    given, taken = sum(_config(encoder)["hidden_size"] for encoder in text_encoders), config["cross_attention_dim"]
    if given != taken:
        yield f"its text encoders give {given} numbers a token where the denoiser takes {taken}"
    if config.get("addition_embed_type") == "text_time":
        yield from _pooled_reasons(config, text_encoders)
    elif len(text_encoders) != 1:
        yield "it has two text encoders but no pooled embedding"


def _sampling_reasons(config: Mapping[str, Any], parts: Parts) -> Iterator[str]:
    sampling, takes = parts.sampling, config.get("time_cond_proj_dim") is not None
    if broken := [t for t in sampling.timesteps or () if isinstance(t, float)]:
        yield f"its sampling.json names timestep {broken[0]}, where its noise schedule has whole ones"
    if sampling.timesteps is not None and sampling.timesteps[0] >= parts.schedule.count:
        yield f"its sampling.json names timestep {sampling.timesteps[0]} of a schedule of {parts.schedule.count}"
    if takes and sampling.guidance != "input":
        yield "its denoiser takes the guidance scale as input, which is a distilled model, and no sampling.json says so"
    if sampling.guidance == "input" and not takes:
        yield "its sampling.json says that its denoiser takes the guidance scale as input, and it takes none"


def _pooled_reasons(config: Mapping[str, Any], text_encoders: Sequence[nn.Module]) -> Iterator[str]:
    if len(text_encoders) != 2:
        yield "its denoiser takes a pooled embedding, which needs a second text encoder"
        return
    pooled = _config(text_encoders[1])["projection_dim"] + 6 * config["addition_time_embed_dim"]
    if pooled != config["projection_class_embeddings_input_dim"]:
        yield "its denoiser does not take six numbers of size and crop, as the refiner of SDXL does not"


def _config(module: Any) -> Any:
    config: Any = module.config
    return config if isinstance(config, Mapping) else vars(config)
