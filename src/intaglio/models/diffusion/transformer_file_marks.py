"""Recognition of single files with a transformer denoiser, by the keys that only one kind has."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.families.known import FAMILIES, NAMES

Shapes = Mapping[str, tuple[int, ...]]
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
"""Beginnings of the denoiser's keys."""
_MARKS = (
    ("early_stream_modulations.image.lin.weight", "FLUX.3"),
    ("txtfusion.projector.weight", "Krea 2"),
    ("single_stream_modulation.lin.weight", "flux2"),
    ("distilled_guidance_layer.in_proj.bias", "chroma"),
    ("double_blocks.0.img_attn.norm.key_norm.scale", "flux1"),
    ("joint_blocks.0.context_block.adaLN_modulation.1.bias", "sd3"),
    ("layers.0.adaLN_modulation.0.weight", "zimage"),
    ("cap_embedder.0.weight", "lumina2"),
    ("blocks.0.cross_attn.q_linear.weight", "sana"),
    ("double_layers.0.attn.w2q.weight", "auraflow"),
    ("double_stream_blocks.0.block.adaLN_modulation.1.bias", "HiDream"),
    ("transformer_blocks.0.img_mod.1.weight", "qwen-image"),
)
"""A key of each kind, and the key of its family, or the name of a kind that is not read. The first that fits counts."""
_GUIDED, _GUIDANCE = {"flux2": "flux2-dev"}, "guidance_in.in_layer.weight"
"""The family of a file that has the guidance input besides."""
_NAMES_OF_DIFFUSERS = (
    "transformer_blocks.0.attn.to_q.weight",
    "transformer_blocks.0.attn1.to_q.weight",
    "layers.0.attention.to_q.weight",
)
_OF_BOTH = "transformer_blocks.0.img_mod.1.weight"
"""A key of a family whose published names are those of diffusers."""
_QUANTIZED = (
    (r"\.quant_state\.|\.absmax$", "bitsandbytes"),
    (r"\.weight_scale_2$", "nvfp4"),
    (r"\.(qweight|qzeros|wscales|smooth)$", "nunchaku or GPTQ"),
    (r"\.SCB$", "int8"),
)
SCALES = (".scale_weight", ".weight_scale")
"""Ends of the keys of the scales of weights in eight-bit floats."""
WITHOUT_EFFECT = re.compile(
    r"(\.scale_input|\.input_scale|scaled_fp8|\.comfy_quant|\.num_batches_tracked|norm_final\.weight|"
    r"^(model\.diffusion_model\.)?(pos_embed|y_embedder\.y_embedding))$"
)
"""Keys beside such weights that are for inputs, or say how they were made; a count of training steps; a norm that is
never called (Lumina-Image 2), and what follows from the settings or serves training alone (SANA)."""


def transformer_kind(shapes: Shapes, path: Path) -> tuple[Family, str] | None:
    """The family of a file with a transformer denoiser, and the beginning of its keys; None for other files.

    Raises `BadInput` for kinds that are not read, for the names of diffusers, and for weights in few bits other than
    eight-bit floats with scales.
    """
    if _OF_BOTH not in shapes and any(key in shapes for key in _NAMES_OF_DIFFUSERS):
        raise BadInput(
            f"{path} has the names of diffusers, whose settings lie beside it; give the folder that holds it with its "
            "config.json"
        )
    for prefix in PREFIXES:
        for mark, kind in _MARKS:
            if f"{prefix}{mark}" in shapes:
                _refuse_quantized(shapes, path)
                kind = _GUIDED.get(kind, kind) if f"{prefix}{_GUIDANCE}" in shapes else kind
                family = next((family for family in FAMILIES if family.key == kind), None)
                if family is None:
                    raise BadInput(f"{path} is a file of {kind}, which is not read; give a model of {NAMES}")
                return family, prefix
    return None


def _refuse_quantized(keys: Collection[str], path: Path) -> None:
    for mark, kind in _QUANTIZED:
        if any(re.search(mark, key) for key in keys):
            raise BadInput(
                f"{path} holds {kind} weights, which cannot be read; use the bf16 or fp8 file of the same model"
            )
