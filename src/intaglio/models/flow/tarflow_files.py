"""TarFlow models as folders: `config.json` and `model.safetensors`, in this project's names or the published ones."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.files import atomic_folder
from intaglio.models.flow.config import TarFlowConfig
from intaglio.models.flow.flow_folders import CONFIG
from intaglio.models.flow.tarflow import TarFlow
from intaglio.models.weights_file import checked, opened, read_weights, refuse_pickle

WEIGHTS, CARD = "model.safetensors", "README.md"
SAVED_WITH = "give both as they were saved"
PUBLISHED = (
    (r"blocks\.(\d+)\.pos_embed", r"blocks.\1.positions"),
    (r"blocks\.(\d+)\.class_embed", r"blocks.\1.classes"),
    (r"blocks\.(\d+)\.attn_blocks\.(\d+)\.attention\.norm\.(.+)", r"blocks.\1.layers.\2.attention_norm.\3"),
    (r"blocks\.(\d+)\.attn_blocks\.(\d+)\.attention\.(qkv|proj)\.(.+)", r"blocks.\1.layers.\2.\3.\4"),
    (r"blocks\.(\d+)\.attn_blocks\.(\d+)\.mlp\.norm\.(.+)", r"blocks.\1.layers.\2.mlp_norm.\3"),
    (r"blocks\.(\d+)\.attn_blocks\.(\d+)\.mlp\.main\.0\.(.+)", r"blocks.\1.layers.\2.widen.\3"),
    (r"blocks\.(\d+)\.attn_blocks\.(\d+)\.mlp\.main\.2\.(.+)", r"blocks.\1.layers.\2.narrow.\3"),
    (r"var", "variance"),
)
"""The names in the authors' checkpoints, and ours; a block's `attn_mask` is no weight."""


@dataclass(frozen=True, eq=False)
class LoadedFlow:
    """A model with its name, fingerprint and class names."""

    model: TarFlow
    name: str
    """Name of its folder."""
    fingerprint: str
    """sha256 over configuration and weights."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in their order; empty where the file has none."""


def save_flow(model: TarFlow, folder: Path, *, labels: tuple[str, ...] = (), card: str | None = None) -> None:
    """Write configuration, weights and card, atomically.

    `labels` are the names of the classes in their order. Raises `BadInput` where `folder` holds something else.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_folder(Path(folder), CONFIG) as fresh:
        (fresh / CONFIG).write_text(model.config.to_json(), encoding="utf-8")
        save_file(weights, fresh / WEIGHTS, {"format": "pt", "labels": "\n".join(labels)})
        if card is not None:
            (fresh / CARD).write_text(card, encoding="utf-8")


def load_flow(folder: Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> LoadedFlow:
    """The model of a folder that `save_flow` wrote, for inference: no gradients, evaluation mode.

    `dtype` is the type of the weights, float32 by default, whatever type they are stored in; float16 is refused, as
    exponentials overflow in it. Raises `BadInput` where the folder, its configuration or its weights cannot be used.
    """
    folder = Path(folder)
    if dtype == torch.float16:
        raise BadInput("a flow cannot run in float16: exp(a) overflows above a = 11; take float32 or bfloat16")
    if not folder.is_dir():
        refuse_pickle(folder, "a flow's weights") if folder.is_file() else None
        raise BadInput(f"{folder} is no folder; give the folder with a flow's {CONFIG} and {WEIGHTS}")
    config, path = TarFlowConfig.read(folder / CONFIG), folder / WEIGHTS
    with opened(path, "flow's weights") as file:
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        notes = dict(file.metadata() or {})
    model = _empty(config, shapes, path)  # before memory is taken for the weights
    weights, _ = read_weights(path, "flow's weights")
    model = _filled(model, weights, path)
    labels = tuple(line for line in notes.get("labels", "").split("\n") if line)
    if labels and len(labels) != config.num_classes:
        raise BadInput(f"{path} names {len(labels)} classes, where {CONFIG} says {config.num_classes}; {SAVED_WITH}")
    ready = model.to(device=device, dtype=dtype or torch.float32).eval().requires_grad_(False)
    ready.variance = ready.variance.to(ready.working_dtype)
    return LoadedFlow(ready, folder.absolute().name, fingerprint(model), labels)


def fingerprint(model: TarFlow) -> str:
    """sha256 over the configuration, and the names and float32 values of the weights."""
    digest = hashlib.sha256(model.config.to_json().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + b"\0" + tensor.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def from_published(path: Path, *, noise_std: float, image_size: tuple[int, int], head_dim: int = 64) -> TarFlow:
    """A model from a `.safetensors` file with the names of the authors' checkpoints.

    All shapes but the three that are given follow from the weights. Raises `BadInput` for a file that is pickled, as
    the published ones are, and for names or shapes that make no such model.
    """
    found, _ = read_weights(path, "flow's weights")
    weights = {_our_name(name): tensor for name, tensor in found.items() if not name.endswith("attn_mask")}
    try:
        config = _config_of(weights, noise_std, image_size, head_dim)
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise BadInput(f"{path} is no TarFlow checkpoint, or not of pictures of this size: {error}") from error
    if "blocks.0.classes" in weights:  # published as [classes, 1, d]
        weights |= {name: tensor.flatten(0, -2) for name, tensor in weights.items() if name.endswith(".classes")}
    model = _empty(config, {name: tuple(tensor.shape) for name, tensor in weights.items()}, path)
    return _filled(model, weights, path).eval().requires_grad_(False)


def _our_name(name: str) -> str:
    for pattern, ours in PUBLISHED:
        if match := re.fullmatch(pattern, name):
            return match.expand(ours)
    return name


def _config_of(
    weights: Mapping[str, Tensor], noise_std: float, image_size: tuple[int, int], head_dim: int
) -> TarFlowConfig:
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    layers = tuple(
        1 + max(int(name.split(".")[3]) for name in weights if name.startswith(f"blocks.{block}.layers."))
        for block in range(blocks)
    )
    width, token_width = weights["blocks.0.proj_in.weight"].shape
    tokens = len(weights["blocks.0.positions"])
    patch = math.isqrt(image_size[0] * image_size[1] // tokens)
    return TarFlowConfig(
        image_size=image_size,
        patch_size=patch,
        in_channels=token_width // patch**2,
        hidden_size=width,
        num_blocks=blocks,
        layers_per_block=layers,
        head_dim=head_dim,
        noise_std=noise_std,
        mlp_ratio=len(weights["blocks.0.layers.0.widen.weight"]) // width,
        nvp=len(weights["blocks.0.proj_out.weight"]) == 2 * token_width,
        num_classes=len(weights["blocks.0.classes"]) if "blocks.0.classes" in weights else 0,
    )


def _empty(config: TarFlowConfig, shapes: Mapping[str, tuple[int, ...]], path: Path) -> TarFlow:
    """A flow without memory for its weights. Raises `BadInput` where weights of these shapes do not fit it."""
    layers = sum(config.layers_per_block)
    if layers > len(shapes):
        raise BadInput(f"{path} holds {len(shapes)} weights, where its {CONFIG} says {layers} layers; {SAVED_WITH}")
    try:
        with torch.device("meta"):
            model = TarFlow(config)
    except RuntimeError as error:  # sizes whose product is beyond every memory
        raise BadInput(f"{path} does not fit its {CONFIG} ({str(error).splitlines()[0]}); {SAVED_WITH}") from error
    wanted: dict[str, Any] = model.state_dict()
    if wrong := sorted(wanted.keys() ^ shapes.keys()):
        state = "lacks" if wrong[0] in wanted else "has an unknown"
        raise BadInput(f"{path} {state} {wrong[0]}, so it does not fit its configuration; export the model again")
    for name, shape in shapes.items():
        if shape != tuple(wanted[name].shape):
            wrong_shapes = f"{list(shape)}, where {list(wanted[name].shape)} is wanted"
            raise BadInput(f"{path} holds {name} as {wrong_shapes}; export the model again")
    return model


def _filled(model: TarFlow, weights: Mapping[str, Tensor], path: Path) -> TarFlow:
    model.load_state_dict({name: checked(tensor, path, name) for name, tensor in weights.items()}, assign=True)
    return model.float()
