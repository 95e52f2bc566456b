"""Changes to model folders and single files on disk, for tests of what is refused, told of and read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import original_layout as original
import tiny

Tensors = dict[str, torch.Tensor]


def edit(path: Path, drop=(), **changes) -> None:
    """Sets entries of a JSON file, and takes out those in `drop`."""
    known = {key: value for key, value in json.loads(path.read_text()).items() if key not in drop}
    path.write_text(json.dumps(known | changes))


def weights(folder: Path) -> tuple[Path, Tensors]:
    """The one safetensors file of a component's folder, and its tensors."""
    (path,) = Path(folder).glob("*.safetensors")
    return path, load_file(path)


def reweigh(folder: Path, change: Callable[[Tensors], Tensors | None]) -> Path:
    """Writes a component's weights again as `change` gives or leaves them; returns their path."""
    path, tensors = weights(folder)
    save_file(change(tensors) or tensors, path, metadata={"format": "pt"})
    return path


def single_file(path: Path, kind: str = "sd1", metadata: dict[str, str] | None = None, drop=(), **more) -> Tensors:
    """A random checkpoint in the original layout, of the shapes of the tiny pipelines; `more` is added to it."""
    text = original.Clip(16, 2, len(tiny.tokenizer()), tiny.LENGTH, inner=2)
    unet, vae = original.UNet(8, (1, 2), (1, 0), 1, 1, 16), original.Autoencoder(4, (1, 2), 1, 4, attended=False)
    if kind == "sd1":
        shapes = original.sd1(unet, vae, text)
    else:
        shapes = original.sdxl(replace(unet, context=40, label=72), vae, text, replace(text, width=24))
    generator = torch.Generator().manual_seed(0)
    made = {key: 0.1 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    kept = {key: tensor for key, tensor in made.items() if not key.startswith(tuple(drop))}
    save_file(kept | more, path, metadata)
    return kept
