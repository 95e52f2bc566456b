"""Atomic writing of a model as a diffusers folder."""

import json
from pathlib import Path
from typing import Any

import diffusers

from intaglio.files import atomic_folder
from intaglio.models.diffusion.components import Components
from intaglio.models.library_logging import quiet_libraries

ABSENT_COMPONENT = [None, None]
"""Entry of `model_index.json` for a component that the pipeline may have and this model has not."""


def save_folder(model: Components, folder: Path) -> None:
    """Writes a folder beside `folder`, syncs it and renames it; errors as of `LatentDiffusion.save`."""
    with atomic_folder(folder, "model_index.json") as fresh:
        _write(model, fresh)


def _write(model: Components, folder: Path) -> None:
    components: dict[str, Any] = {"unet": model.denoiser, "vae": model.autoencoder}
    for suffix, encoder, tokenizer in zip(("", "_2"), model.text_encoders, model.tokenizers, strict=False):
        components |= {f"text_encoder{suffix}": encoder, f"tokenizer{suffix}": tokenizer}
    with quiet_libraries():
        for name, component in components.items():
            component.save_pretrained(folder / name)
    scheduler = {"_class_name": "DDIMScheduler", **model.scheduler}
    (folder / "scheduler").mkdir()
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    model.sampling.write(folder)
    _write_json(folder / "model_index.json", _index(model, components, scheduler["_class_name"]))


def _index(model: Components, components: dict[str, Any], scheduler_class: str) -> dict[str, Any]:
    libraries = {name: type(component).__module__.partition(".")[0] for name, component in components.items()}
    index: dict[str, Any] = {
        name: [libraries[name], type(component).__name__] for name, component in components.items()
    }
    two = len(model.text_encoders) == 2
    absent = ("feature_extractor", "image_encoder") if two else ("feature_extractor", "image_encoder", "safety_checker")
    defaults = {"force_zeros_for_empty_prompt": True} if two else {"requires_safety_checker": False}
    kept = {key: value for key, value in model.options.items() if key != "requires_safety_checker"}
    return {
        "_class_name": "StableDiffusionXLPipeline" if two else "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", scheduler_class],
        **dict.fromkeys(absent, ABSENT_COMPONENT),
        **defaults,
        **kept,
        **index,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
