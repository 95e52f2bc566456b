"""Files of an adapter: a file, a folder of one, or a folder with one for each part of a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.models.lora.peft_config import CONFIG_NAME
from intaglio.models.weights_file import PICKLE_SUFFIXES

FILE_NAME, PEFT_NAME = "pytorch_lora_weights.safetensors", "adapter_model.safetensors"
"""Names of the file in folders of diffusers and of PEFT."""
PART_FOLDERS = {"unet": "denoiser", "text_encoder": "text_encoder", "text_encoder_2": "text_encoder_2"}
"""Parts by the name of a folder that holds their adapter."""


@dataclass(frozen=True)
class AdapterFile:
    """One file of an adapter."""

    path: Path
    part: str | None
    """The part of a model by the name of its folder; None where that says none."""
    config: Path | None
    """PEFT's configuration beside it; None where there is none."""


def adapter_files(path: Path) -> list[AdapterFile]:
    """The files of the adapter at a path. Raises `BadInput` for a folder with none, or with several to choose from."""
    if not path.is_dir():
        return [_described(path)]
    if inner := list(_of_parts(path)):
        return inner
    for name in (FILE_NAME, PEFT_NAME):
        if (path / name).exists():
            return [_described(path / name)]
    found = sorted(path.glob("*.safetensors"))
    if len(found) == 1:
        return [_described(found[0])]
    if found:
        raise BadInput(f"{path} holds several files ({found[0].name}, {found[1].name}); give the LoRA's file itself")
    if pickles := sorted(file.name for file in path.iterdir() if file.suffix in PICKLE_SUFFIXES):
        raise BadInput(
            f"{path} holds its adapter as a pickle ({pickles[0]}), which is never opened; save it as .safetensors"
        )
    raise BadInput(f"{path} holds no LoRA (no {FILE_NAME}, no {PEFT_NAME}); give the LoRA's .safetensors file")


def is_adapter_folder(path: Path) -> bool:
    """Whether a folder holds an adapter and no model."""
    if (path / "model_index.json").exists():
        return False
    if any(_of_parts(path)):
        return True
    names = (FILE_NAME, PEFT_NAME, CONFIG_NAME)
    return not (path / "unet").exists() and any((path / name).exists() for name in names)


def _of_parts(path: Path) -> Iterator[AdapterFile]:
    """The adapters in the folders of parts: PEFT saves each part's adapter in a folder of its own."""
    for name in PART_FOLDERS:
        inner = path / name
        if (inner / PEFT_NAME).exists() and not (inner / "config.json").exists():
            yield _described(inner / PEFT_NAME)


def _described(path: Path) -> AdapterFile:
    config = path.parent / CONFIG_NAME
    # A file of another name is what PEFT's configuration is for only where there is no other.
    beside = config.exists() and (path.name == PEFT_NAME or len(list(path.parent.glob("*.safetensors"))) == 1)
    return AdapterFile(path, PART_FOLDERS.get(path.parent.name) if beside else None, config if beside else None)
