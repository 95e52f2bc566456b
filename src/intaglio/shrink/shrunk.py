"""`Shrunk`: the result of a shrinking, which is what its packed weights unpack to and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import intaglio
from intaglio.amounts import size_words
from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.saving import PackedPart, narrowest, save_folder
from intaglio.models.packing.gguf_file import NAME as GGUF
from intaglio.models.packing.gguf_file import write_gguf
from intaglio.models.packing.packed_file import NAME as PACKED
from intaglio.models.packing.packed_file import Packing
from intaglio.models.packing.packed_weight import PackedWeight, bytes_of_all

MODEL, CARD = "model", "README.md"
"""Names in a result's folder: the model, and its card."""
FOLDERS = {"denoiser": "unet"}
"""Folders of parts that are called otherwise than the part."""


@dataclass(frozen=True)
class LayerReport:
    """Size and change of one packed weight."""

    part: str
    name: str
    numbers: int
    """Weights in it."""
    bits: float
    """Bits a weight, scales and all, without what it shares with other weights."""
    bytes: int
    error: float
    """Norm of the change over that of the weight."""


@dataclass(frozen=True, eq=False)
class Shrunk:
    """A model in fewer bytes."""

    model: LatentDiffusion
    """Dense, float32: made by unpacking, so that what is judged is what is saved."""
    packed: Mapping[str, Mapping[str, PackedWeight]]
    """Packed weights by part, and by their names in it; a part whose modules are others has none, and is stored as any
    network, in half precision."""
    packing: Packing
    base: str
    """Name of the model that it was made from."""
    layers: tuple[LayerReport, ...]
    warnings: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    """Names of the states of its run, which are of no use once it is stored."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further plain figures of the method, such as those of a healing."""

    @property
    def bytes(self) -> int:
        """Bytes of the tensors of the shrunk parts in their files."""
        return sum(stored_bytes(self.model.parts[part], weights) for part, weights in self.packed.items())

    @property
    def bits(self) -> float:
        """Bits a weight over all that are packed, scales, codebooks and all; over all weights where none are."""
        if self.layers:
            return bits_of_all(self.packed)
        weights = [weight for part in self.packed for weight in self.model.parts[part].state_dict().values()]
        return 8 * self.bytes / sum(weight.numel() for weight in weights)

    def figures(self) -> dict[str, Any]:
        """Plain figures of the result."""
        worst = max(self.layers, key=lambda one: one.error).name if self.layers else None
        figures = {"bytes": self.bytes, "bits": self.bits, "layers": len(self.layers), "worst_layer": worst}
        return {**figures, **self.facts}

    def _repr_html_(self) -> str:
        """Bytes, bits and the layers, for notebooks."""
        return result_html(f"{self.base}, made smaller", self.figures(), [vars(one) for one in self.layers])

    def to_frame(self) -> pd.DataFrame:
        """A row a packed weight."""
        return pd.DataFrame([vars(one) for one in self.layers])

    def save(self, folder: Path, layout: str = "intaglio") -> Path:
        """Writes the model's folder and the card; returns that folder.

        With the layout `diffusers` the weights are stored dense, in half precision where they allow it, which other
        tools read, and nothing is saved; with `gguf` a file with the denoiser in that format lies beside them.
        """
        packed = self.packed if layout == "intaglio" else {}
        parts = {part: PackedPart(weights, self.packing) for part, weights in packed.items() if weights}
        save_folder(self.model.components, folder / MODEL, parts, () if layout == "intaglio" else tuple(self.packed))
        if layout == "gguf":
            write_gguf(self.model.denoiser, self.packed.get("denoiser", {}), folder / MODEL / GGUF)
        atomic_write(folder / CARD, self.card(layout))
        return folder / MODEL

    def card(self, layout: str = "intaglio") -> str:
        """Markdown with the front matter that model hubs read."""
        head = ["---", "tags:", "- text-to-image", f"- {self.packing.method}", "---", "", f"# {self.model.name}", ""]
        facts = [f"- Made from: {self.base} (fingerprint `{self.packing.base}`)", "- Licence: inherits that model's"]
        as_packed = "" if layout == "intaglio" else ", as this software packs it"
        facts += [f"- {', '.join(self.packed)}: {self.bits:.2f} bits a weight, {size_words(self.bytes)}{as_packed}"]
        facts += [f"- {_stored_as(layout, bool(self.layers))}"]
        table = ["", "## Settings", "", f"`{self.packing.method}` of intaglio {intaglio.__version__}", ""]
        rows = [f"| {key} | {value} |" for key, value in self.packing.settings.items()]
        return "\n".join([*head, *facts, *table, "| setting | value |", "|---|---|", *rows, ""])


def _stored_as(layout: str, packed: bool) -> str:
    """The weights' place, and who reads them there."""
    if layout == "diffusers":
        return "Weights: dense, in half precision where they allow it, as every software reads them"
    if layout == "gguf":
        return f"Weights: dense, and `{GGUF}`, whose codes take fewer bits, for software that reads the GGUF format"
    weights = f"Weights: `{PACKED}`" if packed else "A U-Net of other modules than the library's"
    return f"{weights}, which `intaglio` reads wherever it takes a model, and no other software does"


def bits_of_all(packed: Mapping[str, Mapping[str, PackedWeight]]) -> float:
    """Bits a weight over the packed weights of all parts, scales, codebooks and all."""
    numbers = sum(one.numbers for weights in packed.values() for one in weights.values())
    return 8 * sum(map(bytes_of_all, packed.values())) / max(1, numbers)


def stored_bytes(network: nn.Module, packed: Mapping[str, PackedWeight]) -> int:
    """Bytes of a network's tensors in its packed file: of packed weights, and of the others as they are stored."""
    others = (narrowest(weight) for name, weight in network.state_dict().items() if name not in packed)
    return bytes_of_all(packed) + sum(one.numel() * one.element_size() for one in others)


def shrunk(
    model: LatentDiffusion,
    packed: Mapping[str, Mapping[str, PackedWeight]],
    packing: Packing,
    base: Mapping[str, nn.Module] | None = None,
    healed: LatentDiffusion | None = None,
) -> Shrunk:
    """The result of packed weights: what they unpack to, and what became of each; `model` is left as it is.

    The other weights of these parts are rounded to half precision, but for one that would overflow.

    Args:
        model: that was made smaller.
        packed: by part, and by their names in it.
        packing: the note of the file; its bits are counted here.
        base: the base's networks by part, where the packed weights are a change of theirs.
        healed: the model after a training, of which the other weights are taken, and the modules that are left.
    """
    twin, reports = (model if healed is None else healed).copy(), list[LayerReport]()
    with torch.no_grad():
        for part, weights in packed.items():
            of_base, before = {} if base is None else base[part].state_dict(), model.parts[part].state_dict()
            for key, weight in twin.parts[part].state_dict().items():
                if (one := weights.get(key)) is None:
                    weight.copy_(_halved(weight))
                    continue
                found, was = one.unpack(of_base.get(key)), before[key].detach().float().cpu()
                error = float((found - was).norm() / was.norm().clamp(min=1e-12))
                reports.append(LayerReport(part, key, one.numbers, one.bits, one.bytes, error))
                weight.copy_(found)
    packing = replace(packing, bits=bits_of_all(packed)) if reports else packing
    twin.name, twin.source, twin.notes = f"{model.name}, {packing.method}", None, ()
    twin.packing = {**model.packing, **{part: packing for part, weights in packed.items() if weights}}
    return Shrunk(twin, packed, packing, model.name, tuple(reports))


def _halved(weight: Tensor) -> Tensor:
    """The weight rounded to half precision, or itself where a number of it would overflow."""
    if not weight.is_floating_point():
        return weight
    half = weight.half()
    return half.to(weight.dtype) if bool(torch.isfinite(half).all()) else weight
