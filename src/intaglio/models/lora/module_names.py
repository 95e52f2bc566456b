"""Names of the modules that a LoRA can change, in diffusers' naming and in those of LoRA files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from intaglio.models.ldm_names import UNetLayout
from intaglio.models.lora.adapter_layers import Hooked
from intaglio.models.lora.keys import TEXT_PARTS

PARTS = ("denoiser", *TEXT_PARTS)
_WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}


def modules(model: Any, part: str) -> Iterator[tuple[str, Hooked]]:
    """(path, module) of every linear layer and convolution of a part; text encoders without `text_model.`."""
    for path, module in model.parts[part].named_modules() if part in model.parts else ():
        if isinstance(module, Hooked):
            yield path.removeprefix("text_model.") if part in TEXT_PARTS else path, module


@dataclass(frozen=True)
class ModelNames:
    """The names of a model's modules, kept apart from the model so that a LoRA can outlive it."""

    paths: dict[str, dict[str, str]]
    """By part: any known name, with dots as underscores, to the path in diffusers' naming."""
    layout: UNetLayout | None
    """The original numbering of the denoiser's blocks; None if it is no U-Net."""
    family: str
    """sd1, sd2 or sdxl; empty if unknown."""
    prediction: str = "epsilon"
    """diffusers' name of the quantity that the denoiser predicts."""

    @classmethod
    def of(cls, model: Any) -> "ModelNames":
        found = {part: [path for path, _ in modules(model, part)] for part in PARTS if part in model.parts}
        is_unet = any(path.startswith("down_blocks.") for path in found.get("denoiser", ()))
        layout = UNetLayout.of(found["denoiser"]) if is_unet else None
        paths = {part: {_flat(path): path for path in names} for part, names in found.items()}
        if layout is not None:
            paths["denoiser"] |= {_flat(layout.original(path)): path for path in found["denoiser"]}
        schedule = getattr(model, "schedule", None)
        return cls(paths, layout, _family(model), getattr(schedule, "prediction", "epsilon"))

    def path(self, part: str, name: str) -> str | None:
        """The diffusers path of the module that a file calls `name`, dotted or underscored; None if there is none."""
        return self.paths.get(part, {}).get(_flat(name))

    def kohya(self, part: str, path: str) -> str:
        """The name sd-scripts gives to a module: the original block numbering for SDXL, diffusers' for the others."""
        if part == "denoiser":
            original = self.family == "sdxl" and self.layout is not None
            return "lora_unet_" + _flat(self.layout.original(path) if original and self.layout else path)
        prefix = {"sdxl": {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}}.get(self.family, {})
        return prefix.get(part, "lora_te_") + _flat(text_path(path))


def text_path(path: str) -> str:
    """The path of a text encoder's module as files spell it, whatever the version of transformers."""
    return path if path.startswith("text_projection") else f"text_model.{path}"


def base_of_width(width: int) -> str | None:
    """The family of base models whose text embeddings have this width; None if unknown."""
    return _WIDTHS.get(width)


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _family(model: Any) -> str:
    if "text_encoder_2" in model.parts:
        return "sdxl"
    config = getattr(model.parts.get("denoiser"), "config", None)
    return {768: "sd1", 1024: "sd2"}.get(getattr(config, "cross_attention_dim", None) or 0, "")
