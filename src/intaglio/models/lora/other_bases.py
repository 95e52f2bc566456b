"""Bases that a LoRA says, by its keys and metadata, that it was made for, where they are none of those used here."""

import re
from collections.abc import Iterable, Mapping

_KEYS = (
    (r"double_layers|single_layers|joint_transformer_blocks", "AuraFlow"),
    (r"distilled_guidance_layer", "Chroma"),
    (r"double_blocks|single_blocks|single_transformer_blocks", "Flux or a model of its blocks, such as Chroma"),
    (r"(?:^|[._])(?:layers|noise_refiner|context_refiner)[._]\d+[._]attention[._]", "Z-Image"),
    (r"joint_blocks|attn[._]add_[qkv]_proj", "Stable Diffusion 3"),
    (r"(?:img|txt)_mlp", "Qwen-Image"),
    (r"blocks[._]\d+[._]cross_attn[._](?:q_linear|kv_linear|proj)|[._]mlp[._](?:inverted|point)_conv", "SANA"),
    (r"\bblocks[._]\d+[._](?:self|cross)_attn|unet_blocks_\d+_(?:self|cross)_attn", "Wan, a video model"),
    (r"adaln_single|caption_projection", "PixArt"),
    (r"prior_unet|lora_prior", "Stable Cascade"),
    (r"motion_modules", "AnimateDiff"),
    (r"lora_te3_|text_encoder_3\.", "a model with three text encoders, such as Stable Diffusion 3"),
    (r"(?:^|\.)transformer_blocks\.\d+\.|lora_transformer_", "a model whose denoiser is a transformer"),
    (r"\bmodel\.layers\.\d+\.(?:self_attn|mlp)\.", "a language model"),
)
_METADATA = (
    ("flux", "Flux"),
    ("sd3", "Stable Diffusion 3"),
    ("stable-diffusion-3", "Stable Diffusion 3"),
    ("stable-cascade", "Stable Cascade"),
    ("hunyuan", "Hunyuan"),
    ("lumina", "Lumina"),
    ("pixart", "PixArt"),
    ("wan", "Wan, a video model"),
    ("qwen", "Qwen-Image"),
)
FAMILY_NAMES = {
    "sd1": "Stable Diffusion 1",
    "sd2": "Stable Diffusion 2",
    "sdxl": "Stable Diffusion XL",
    "sd3": "Stable Diffusion 3",
    "flux1": "FLUX.1",
    "zimage": "Z-Image",
    "flux2": "FLUX.2 klein",
    "chroma": "Chroma",
    "qwen-image": "Qwen-Image",
    "pixart-sigma": "PixArt-Sigma",
    "lumina2": "Lumina-Image 2",
    "auraflow": "AuraFlow",
    "sana": "SANA",
    "flux2-dev": "FLUX.2 dev",
}
"""Families of bases used here, in words."""
_FAMILIES = (
    ("stable-diffusion-v1", "sd1"),
    ("stable-diffusion-v2", "sd2"),
    ("stable-diffusion-xl", "sdxl"),
    ("stable-diffusion-3", "sd3"),
    ("flux-1", "flux1"),
    ("z-image", "zimage"),
    ("flux-2-dev", "flux2-dev"),
    ("flux-2", "flux2"),
    ("chroma", "chroma"),
    ("qwen-image", "qwen-image"),
    ("pixart-sigma", "pixart-sigma"),
    ("lumina-2", "lumina2"),
    ("auraflow", "auraflow"),
    ("sana", "sana"),
)
_TRANSFORMERS = tuple(family for family in FAMILY_NAMES if family not in ("sd1", "sd2", "sdxl"))
_OF_FLUX = ("flux1", "flux2", "flux2-dev", "chroma", "auraflow")
_CLASSES = {
    "FluxTransformer2DModel": "FLUX.1",
    "Flux2Transformer2DModel": "FLUX.2",
    "ChromaTransformer2DModel": "Chroma",
    "SD3Transformer2DModel": "Stable Diffusion 3",
    "QwenImageTransformer2DModel": "Qwen-Image",
    "PixArtTransformer2DModel": "PixArt",
    "Lumina2Transformer2DModel": "Lumina-Image 2",
    "ZImageTransformer2DModel": "Z-Image",
    "AuraFlowTransformer2DModel": "AuraFlow",
    "SanaTransformer2DModel": "SANA",
}
"""Bases in words by the class of their denoiser."""
_OWN = {
    "AuraFlow": ("auraflow",),
    "SANA": ("sana",),
    "FLUX.1": ("flux1",),
    "FLUX.2": ("flux2", "flux2-dev"),
    "Chroma": ("chroma",),
    "Lumina-Image 2": ("lumina2",),
    "Flux": _OF_FLUX,
    "Flux or a model of its blocks, such as Chroma": _OF_FLUX,  # names of modules alone do not tell them apart
    "Z-Image": ("zimage", "lumina2"),
    "Lumina": ("lumina2",),
    "PixArt": ("pixart-sigma", "sana"),
    "Stable Diffusion 3": ("sd3", "flux1", "flux2", "flux2-dev", "chroma", "qwen-image", "auraflow"),
    "Qwen-Image": ("qwen-image",),
    "a model with three text encoders, such as Stable Diffusion 3": _TRANSFORMERS,
    "a model whose denoiser is a transformer": _TRANSFORMERS,
}
"""Families that a base in words may be."""


def made_for_own(base: str, family: str) -> bool:
    """Whether a base that `other_base` names may be of this family."""
    return family in _OWN.get(base, ())


def base_of_class(name: str) -> str | None:
    """The base, in words, whose denoiser is of a class of diffusers; None for classes that are not known."""
    return _CLASSES.get(name)


def stated_family(metadata: Mapping[str, str]) -> str | None:
    """The family among those used here that an adapter's metadata name by `modelspec.architecture`; None for none."""
    said = metadata.get("modelspec.architecture", "").lower()
    return next((family for start, family in _FAMILIES if said.startswith(start)), None)


def other_base(keys: Iterable[str], metadata: Mapping[str, str]) -> str | None:
    """The base, in words, that an adapter was made for; None where nothing says another than those used here."""
    said = [metadata.get(name, "").lower() for name in ("modelspec.architecture", "ss_base_model_version")]
    for start, base in _METADATA:
        if any(word.startswith(start) for word in said):
            return base
    # Names inside the U-Nets used here have blocks, `down_blocks.0.attentions.0.transformer_blocks.0`, before these.
    own = re.compile(r"(?:down|up|mid|input|output|middle)_blocks?[._]")
    foreign = [key for key in keys if "prior" in key or not own.search(key)]
    return next((base for mark, base in _KEYS if any(re.search(mark, key) for key in foreign)), None)
