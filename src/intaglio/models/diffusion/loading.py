"""Loading of models from disk: a diffusers folder, a part of one, a single file, a LoRA on top.

Nothing is downloaded and nothing is unpickled.
"""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.single_file import load_single_file
from intaglio.models.library_logging import quiet_libraries
from intaglio.models.lora.lora import FILE_NAME as LORA_FILE
from intaglio.models.lora.lora import LoRA
from intaglio.models.weights_file import PICKLE_SUFFIXES, opened, refuse_pickle

SAFE_EXPORT = "convert it with diffusers' save_pretrained(safe_serialization=True) on a machine you can afford to lose"
REQUIRED_PARTS = ("unet", "vae", "scheduler", "text_encoder", "tokenizer")
SECOND_ENCODER_PARTS = ("text_encoder_2", "tokenizer_2")
Like = LatentDiffusion | Path | str | None
LORA_MARKS = ("lora_", ".lora.", "hada_", "lokr_")


def load_model(
    path: Path | str,
    *,
    lora: Path | str | None = None,
    like: Like = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LatentDiffusion:
    """Reads a model from disk.

    Args:
        path: a diffusers folder; a folder with some of its parts (`unet/`, or the U-Net's own folder); a single-file
            `.safetensors` checkpoint; or a LoRA, which then acts on a copy of `like`.
        lora: a LoRA file or folder whose change is added to the weights, computed in float32.
        like: the base, loaded or a path. It gives the components that `path` lacks (a U-Net folder has no text encoder,
            a single file no tokenizer); `notes` of the result list them.
        device: device of the weights.
        dtype: precision of the weights; the autoencoder's is always float32.

    Raises:
        BadInput: for a model that is missing, pickled, truncated, incomplete or of an unsupported kind.
    """
    path = _existing(path, "model")
    model = _lora_model(path, like) if _is_lora(path) else _folder_or_file(path, like)
    if lora is not None:
        LoRA.read(_existing(lora, "LoRA")).merged_into(model)
        model.notes = (*model.notes, f"with the LoRA {lora}")
    return model.to(device, dtype)


def _existing(path: Path | str, what: str) -> Path:
    existing = Path(path)
    if existing.exists():
        return existing
    text = str(path)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and not existing.suffix:
        raise BadInput(
            f"there is no folder {text}; if that is the name of a {what} on a hub, nothing is downloaded here: "
            "fetch it yourself and give the folder"
        )
    raise BadInput(f"there is no {what} at {text}; give an existing folder or .safetensors file")


def _folder_or_file(path: Path, like: Like) -> LatentDiffusion:
    if path.is_dir():
        return _from_folder(path, like)
    refuse_pickle(path, "model weights")
    if path.suffix != ".safetensors":
        raise BadInput(f"{path} is no model; give a diffusers folder or a .safetensors file")
    return load_single_file(path, like=like, read_folder=load_model)


def _base(like: LatentDiffusion | Path | str) -> LatentDiffusion:
    return like if isinstance(like, LatentDiffusion) else load_model(like)


# A LoRA given as the model


def _is_lora(path: Path) -> bool:
    if path.is_dir():
        return (path / LORA_FILE).is_file() and not any((path / name).exists() for name in ("unet", "model_index.json"))
    if path.suffix != ".safetensors":
        return False
    with opened(path) as file:
        return any(mark in key for key in file.keys() for mark in LORA_MARKS)  # noqa: SIM118 (not a mapping)


def _lora_model(path: Path, like: Like) -> LatentDiffusion:
    if like is None:
        raise BadInput(f"{path} is a LoRA and no model; give its base as the model, and this file as the LoRA")
    base = _base(like)
    model: LatentDiffusion = LoRA.read(path).merged_into(base.copy().to(dtype=torch.float32))
    model.name, model.source = path.stem, path
    model.notes = (f"the LoRA {path} on {base.name}",)
    return model


# Folders


@dataclass
class _Found:
    """Components of a folder, by their names in `model_index.json`."""

    parts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def _from_folder(folder: Path, like: Like) -> LatentDiffusion:
    found, notes = _read_folder(folder), ()
    if missing := _missing(found):
        if like is None:
            names = ", ".join(missing)
            raise BadInput(f"{folder} has no {names}; give a whole diffusers folder, or the base that it belongs to")
        notes = _complete(found, _base(like))
    suffixes = ("", "_2") if "text_encoder_2" in found.parts else ("",)
    return LatentDiffusion(
        denoiser=found.parts["unet"],
        autoencoder=found.parts["vae"],
        text_encoders=[found.parts[f"text_encoder{suffix}"] for suffix in suffixes],
        tokenizers=[found.parts[f"tokenizer{suffix}"] for suffix in suffixes],
        scheduler=found.parts["scheduler"],
        name=folder.resolve().name,
        source=folder,
        options=found.options,
        notes=notes,
    )


def _missing(found: _Found) -> list[str]:
    # One second component without the other is as incomplete as one of the first.
    unet = found.parts.get("unet")
    two = set(SECOND_ENCODER_PARTS) & set(found.parts) or (unet and unet.config.addition_embed_type == "text_time")
    return [name for name in (*REQUIRED_PARTS, *(SECOND_ENCODER_PARTS if two else ())) if name not in found.parts]


def _complete(found: _Found, base: LatentDiffusion) -> tuple[str, ...]:
    """Adds the missing components from `base`, with copies of its weights; returns a note that lists them."""
    given = {"unet": base.denoiser, "vae": base.autoencoder, "scheduler": base.scheduler}
    for suffix, encoder, tokenizer in zip(("", "_2"), base.text_encoders, base.tokenizers, strict=False):
        given |= {f"text_encoder{suffix}": encoder, f"tokenizer{suffix}": tokenizer}
    borrowed = [name for name in given if name not in found.parts]
    for name in borrowed:
        found.parts[name] = copy.deepcopy(given[name]) if name.startswith(("unet", "text")) else given[name]
    found.options = {**base.options, **found.options}
    return (f"{', '.join(borrowed)} taken from {base.name}",)


def _read_folder(folder: Path) -> _Found:
    index = _read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    if (folder / "transformer").is_dir() or index.get("_class_name", "").startswith(("StableDiffusion3", "Flux")):
        raise BadInput(
            f"{folder} holds a transformer denoiser, which is not supported yet; give an SD 1, SD 2 or SDXL model"
        )
    if not index and (folder / "config.json").is_file():
        return _Found({"unet": _read_unet(folder)})
    found = _Found(
        options={key: value for key, value in index.items() if not isinstance(value, list) and key[0] != "_"}
    )
    readers = {
        "unet": _read_unet,
        "vae": _read_autoencoder,
        "scheduler": _read_scheduler,
        "text_encoder": _read_text_encoder,
        "text_encoder_2": _read_second_text_encoder,
        "tokenizer": _read_tokenizer,
        "tokenizer_2": _read_tokenizer,
    }
    for name, read in readers.items():
        if (folder / name).is_dir() and index.get(name, [""])[0] is not None:
            found.parts[name] = read(folder / name)
    if not found.parts:
        raise _nothing_in(folder)
    return found


def _nothing_in(folder: Path) -> BadInput:
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    if pickles := [name for name in files if Path(name).suffix in PICKLE_SUFFIXES]:
        return BadInput(f"{folder} holds only pickled weights ({pickles[0]}), which are never opened; {SAFE_EXPORT}")
    if single := [name for name in files if name.endswith(".safetensors")]:
        return BadInput(f"{folder} is no diffusers folder; give the file {folder / single[0]} itself")
    return BadInput(f"{folder} holds no model (no model_index.json, no unet/); give a diffusers folder")


# Components


def _read_unet(folder: Path) -> nn.Module:
    kind = _read_json(folder / "config.json").get("_class_name")
    if kind != "UNet2DConditionModel":
        raise BadInput(f"{folder} holds a {kind}, not a UNet2DConditionModel; give an SD 1, SD 2 or SDXL model")
    return _read_network(UNet2DConditionModel, folder)


def _read_autoencoder(folder: Path) -> nn.Module:
    kind = _read_json(folder / "config.json").get("_class_name")
    if kind != "AutoencoderKL":
        raise BadInput(f"{folder} holds a {kind}, not an AutoencoderKL; give an SD 1, SD 2 or SDXL model")
    return _read_network(AutoencoderKL, folder)


def _read_text_encoder(folder: Path) -> nn.Module:
    return _read_network(CLIPTextModel, folder)


def _read_second_text_encoder(folder: Path) -> nn.Module:
    return _read_network(CLIPTextModelWithProjection, folder)


def _read_tokenizer(folder: Path) -> Any:
    with quiet_libraries(), _explained(folder):
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _read_scheduler(folder: Path) -> dict[str, Any]:
    return _read_json(folder / "scheduler_config.json")


def _read_network(kind: Any, folder: Path) -> nn.Module:
    """The network with the folder's safetensors weights, as float32; an error where one is missing or misshapen."""
    variant = _checked_variant(folder)
    precision = "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
    # Libraries draw the weights that they then overwrite: keep the caller's random numbers out of it.
    with quiet_libraries(), torch.random.fork_rng(devices=[]), _explained(folder):
        model, report = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            variant=variant,
            output_loading_info=True,
            **{precision: torch.float32},
        )
    if wrong := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise BadInput(
            f"{folder} lacks {len(wrong)} weights that its config.json asks for ({wrong[0]}); export it again"
        )
    return model.eval()


def _checked_variant(folder: Path) -> str | None:
    """The variant to load (`fp16` where only `model.fp16.safetensors` is there), after every file was opened once."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)
        if pickles:
            raise BadInput(f"{folder} holds only pickled weights ({pickles[0]}), which are never opened; {SAFE_EXPORT}")
        raise BadInput(f"{folder} holds no .safetensors weights; copy the folder again, or export it again")
    for path in files:
        with opened(path):
            pass
    plain = [path for path in files if "." not in path.stem]
    return None if plain else files[0].stem.partition(".")[2].partition("-")[0]


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turns the many errors of the libraries into a `BadInput` that names the folder and the reason."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise BadInput(f"{folder} cannot be read ({reason}); export the model again") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path} is missing; copy the folder again, or export it again") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no readable JSON ({error}); copy the folder again, or export it again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds no settings; copy the folder again, or export it again")
    return content
