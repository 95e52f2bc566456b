"""Loading of models from disk: a diffusers folder, a part of one, a single file, a LoRA on top.

Nothing is downloaded and nothing is unpickled.
"""

import warnings
from functools import partial
from pathlib import Path

import torch

from intaglio.errors import BadInput
from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.model_folder import read_folder
from intaglio.models.diffusion.single_file import load_single_file
from intaglio.models.diffusion.single_file_layout import FIRST_LAYERS
from intaglio.models.diffusion.transformer_file import is_transformer_file, load_transformer_file
from intaglio.models.embedded_models import EmbeddedModel
from intaglio.models.lora.adapter_files import is_adapter_folder
from intaglio.models.lora.lora import LoRA
from intaglio.models.lora.module_names import ModelNames
from intaglio.models.lora.other_bases import FAMILY_NAMES, made_for_own, stated_family
from intaglio.models.packing.int8_kernels import use_int8
from intaglio.models.packing.packed_file import PackedFile
from intaglio.models.testbed import base_path
from intaglio.models.weights_file import is_finite, opened, refuse_gguf, refuse_pickle

Like = LatentDiffusion | Path | str | None
LORA_MARKS = ("lora_", ".lora.", "hada_", "lokr_", ".oft_R", ".oft_blocks")
"""Parts of keys that only adapters have."""


def load_model(
    path: Path | str | None = None,
    *,
    lora: Path | str | None = None,
    like: Like = None,
    allow_unmatched: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LatentDiffusion:
    """Reads a model from disk.

    Args:
        path: a diffusers folder; a folder with some of its parts (`unet/`, or the U-Net's own folder); a single-file
            `.safetensors` checkpoint; a LoRA, which then acts on a copy of `like`; or the name of an embedded model
            (`EmbeddedModel`), where there is no such file. None: the embedded base.
        lora: a LoRA file or folder whose change is added to the weights, computed in float32.
        like: the base, loaded or a path. It gives the components that `path` lacks (a U-Net folder has no text encoder,
            a single file no tokenizer); `notes` of the result list them.
        allow_unmatched: use the layers of a LoRA that fit, with a warning on the rest, which is refused otherwise.
        device: device of the weights.
        dtype: precision of the weights; the autoencoder's is always float32. `torch.int8` lets the layers of a packed
            model whose inputs are rounded (`shrink ptq4dm`) compute with integers on the CPU, without gradients; the
            others, and all that is handed over, stay float32.

    Raises:
        BadInput: for a model that is missing, pickled, truncated, incomplete or of an unsupported kind, and for one
            that cannot have the precision.
    """
    if path is None:
        path = base_path()
    elif (embedded := EmbeddedModel.named(path)) is not None:
        path, like = embedded.folder, like or embedded.lender
    path = _existing(path, "model")
    alone = is_lora(path)
    # The sum with a LoRA is rounded once, so what it is added to is not rounded before.
    narrow = dtype if lora is None and dtype.is_floating_point else torch.float32
    model = _lora_model(path, like, allow_unmatched) if alone else _folder_or_file(path, like, narrow)
    if lora is not None:
        _merge(LoRA.read(_existing(lora, "LoRA")), model, allow_unmatched)
        model.notes = (*model.notes, f"with the LoRA {lora}")
    if dtype == torch.int8:
        _compute_with_integers(model.to(device))
        return model
    model.to(dtype=dtype)
    if lora is not None or alone or dtype != torch.float32:
        _refuse_overflow(model)
    return model.to(device)


def load_suspect(
    path: Path | str, base: LatentDiffusion, *, allow_unmatched: bool = False, device: torch.device | str = "cpu"
) -> LatentDiffusion:
    """Reads a model to be compared with its base, which gives what it lacks.

    A LoRA acts beside the base, whose weights both then share (`Adapted`), where that is in float32 on the same device;
    on another its change is added to a copy. Arguments and errors are those of `load_model`.
    """
    shares = torch.zeros(0, device=device).device == base.device and base.dtype == torch.float32
    if EmbeddedModel.named(path) is not None or not shares or not is_lora(_existing(path, "model")):
        return load_model(path, like=base, allow_unmatched=allow_unmatched, device=device)
    adapter = LoRA.read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out becomes a note
        model = Adapted(base, adapter, allow_unmatched=allow_unmatched)
    model.notes = base.notes
    _note(adapter, model)
    model.name, model.source = Path(path).stem, Path(path)
    return model


def _compute_with_integers(model: LatentDiffusion) -> None:
    packing = model.packing.get("denoiser")
    if packing is None or packing.file is None:
        raise BadInput(
            f"{model.name} has no packed weights to compute with as integers; make it with shrink ptq4dm, or use "
            "bfloat16 or float32"
        )
    use_int8(model.denoiser, PackedFile.read(packing.file).packed_weights())


def check_there(path: Path | str) -> None:
    """Raises `BadInput` for a model that is neither a path nor the name of an embedded one; nothing is read."""
    if EmbeddedModel.named(path) is None:
        _existing(path, "model")


def _refuse_overflow(model: LatentDiffusion) -> None:
    """Raises `BadInput` for weights that were finite in their files and are not after a LoRA, or in less precision."""
    for part, module in model.parts.items():
        for name, weight in module.state_dict().items():
            if weight.is_floating_point() and not is_finite(weight):
                precision = str(weight.dtype).removeprefix("torch.")
                raise BadInput(
                    f"{model.name} has a weight beyond {precision} in its {part} ({name}); "
                    "use float32, or check the LoRA"
                )


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
    inside = f", or the name of an embedded one ({names})" if (names := _embedded_names(what)) else ""
    raise BadInput(f"there is no {what} at {text}; give an existing folder or .safetensors file{inside}")


def _embedded_names(what: str) -> str:
    return ", ".join(one.name for one in EmbeddedModel.known()) if what == "model" else ""


def _folder_or_file(path: Path, like: Like, dtype: torch.dtype) -> LatentDiffusion:
    if path.is_dir():
        return read_folder(path, None if like is None else partial(_base, like), dtype)
    refuse_pickle(path, "model weights")
    refuse_gguf(path)
    if path.suffix != ".safetensors":
        raise BadInput(f"{path} is no model; give a diffusers folder or a .safetensors file")
    if is_transformer_file(path):
        return load_transformer_file(path, like, load_model, dtype)
    return load_single_file(path, like=like, read_folder=load_model)


def _base(like: LatentDiffusion | Path | str) -> LatentDiffusion:
    return like if isinstance(like, LatentDiffusion) else load_model(like)


# A LoRA given as the model


def is_lora(path: Path) -> bool:
    """Whether a path that exists is a LoRA, and no model of its own."""
    if path.is_dir():
        return is_adapter_folder(path)
    if path.suffix != ".safetensors":
        return False
    with opened(path) as file:
        keys = set(file.keys())
    return not keys & FIRST_LAYERS and any(mark in key for key in keys for mark in LORA_MARKS)


def _lora_model(path: Path, like: Like, allow_unmatched: bool) -> LatentDiffusion:
    if like is None:
        raise BadInput(
            f"{path} is a LoRA and no model; give its base too, with --like BASE (`like` in Python), or the base as "
            "the model and this file with --lora, where there is such a flag"
        )
    base = _base(like)
    adapter, model = LoRA.read(path), base.copy().to(dtype=torch.float32)
    model.notes = base.notes
    _merge(adapter, model, allow_unmatched)  # whose errors and notes name the base
    model.name, model.source = path.stem, path
    return model


def _merge(adapter: LoRA, model: LatentDiffusion, allow_unmatched: bool) -> None:
    """Adds an adapter to the weights of a model, with its notes and those on what of it is not used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out becomes a note
        adapter.merged_into(model, allow_unmatched=allow_unmatched)
    _note(adapter, model)


def _note(adapter: LoRA, model: LatentDiffusion) -> None:
    """Adds to a model's notes those of an adapter, and those on what of it is not used."""
    model.notes = (*model.notes, *_notes_of(adapter, model))
    if left_out := adapter.unmatched(model):
        model.notes = (*model.notes, f"{len(left_out)} keys of {adapter.source} are not used (first: {left_out[0]})")
        model.unused = (*model.unused, *(f"{adapter.source}: {line}" for line in left_out))


def _notes_of(adapter: LoRA, model: LatentDiffusion) -> tuple[str, ...]:
    """The adapter's own notes, and some where it says that it was trained for another base or prediction type."""
    notes = (*adapter.notes, *_on_another_base(adapter, model))
    said = adapter.metadata.get("modelspec.prediction_type", "").strip().lower()
    stated = {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon"}.get(said)
    if stated is None or stated == model.schedule.prediction:
        return notes
    note = f"{adapter.source} says that it was trained to predict {said}, where {model.name} predicts"
    return (*notes, f"{note} {model.schedule.prediction}")


def _on_another_base(adapter: LoRA, model: LatentDiffusion) -> list[str]:
    """A note where the adapter's keys or metadata name another base than the model's family."""
    family, stated = ModelNames.of(model).family, stated_family(adapter.metadata)
    base = adapter.made_for
    if base is not None and made_for_own(base, family):
        return []
    if base is None and stated is not None and stated != family and (family or stated == "sdxl"):
        base = FAMILY_NAMES[stated]  # of a model of unusual widths it is only known that it is no SDXL
    if base is None:
        return []
    return [
        f"{adapter.source} says that it was made for {base}, which {model.name} is not; its layers fit all the same"
    ]
