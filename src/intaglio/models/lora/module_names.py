"""Names of the modules that a LoRA can change, in diffusers' naming and in those of LoRA files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from intaglio.models.ldm_names import UNetLayout
from intaglio.models.lora.adapter_layers import Hooked, weight_shape
from intaglio.models.lora.keys import TEXT_PARTS
from intaglio.models.original_names import PublishedPlace, joined_by

PARTS = ("denoiser", *TEXT_PARTS)
_WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}


def modules(model: Any, part: str) -> Iterator[tuple[str, Hooked]]:
    """(path, module) of every linear layer and convolution of a part; text encoders without `text_model.`."""
    for path, module in model.parts[part].named_modules() if part in model.parts else ():
        if isinstance(module, Hooked):
            yield path.removeprefix("text_model.") if part in TEXT_PARTS else path, module


class Member(NamedTuple):
    """A module that a layer of a file changes, and the rows of the layer that are its own."""

    path: str
    """In diffusers' naming."""
    rows: tuple[int, ...] = ()
    """Numbers of rows of all members of the layer; empty for a layer of one module."""
    place: int = 0
    """The member's place among them."""
    swapped: bool = False
    """Whether the halves of the rows stand the other way round in the file."""


@dataclass(frozen=True)
class ModelNames:
    """The names of a model's modules, kept apart from the model so that a LoRA can outlive it."""

    paths: dict[str, dict[str, str]]
    """By part: any known name, with dots as underscores, to the path in diffusers' naming."""
    layout: UNetLayout | None
    """The original numbering of the denoiser's blocks; None if it is no U-Net."""
    family: str
    """sd1, sd2, sdxl or the `key` of a family of transformers, such as sd3; empty if unknown."""
    prediction: str = "epsilon"
    """diffusers' name of the quantity that the denoiser predicts."""
    places: Mapping[str, PublishedPlace] = field(default_factory=dict)
    """Places of a transformer denoiser's modules in the published network."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Numbers of rows of the weights of those modules."""
    kohya_text: tuple[str, ...] = ()
    """Beginnings of text encoders' names in files of sd-scripts; empty for U-Nets, which have rules of their own."""

    @classmethod
    def of(cls, model: Any) -> "ModelNames":
        inside = {part: dict(modules(model, part)) for part in PARTS if part in model.parts}
        found = {part: list(those) for part, those in inside.items()}
        is_unet = any(path.startswith("down_blocks.") for path in found.get("denoiser", ()))
        layout = UNetLayout.of(found["denoiser"]) if is_unet else None
        paths = {part: {_flat(path): path for path in names} for part, names in found.items()}
        if layout is not None:
            paths["denoiser"] |= {_flat(layout.original(path)): path for path in found["denoiser"]}
        schedule = getattr(model, "schedule", None)
        prediction = getattr(schedule, "prediction", "epsilon")
        family = getattr(model, "family", None)
        if family is None or not (family.original_names or family.kohya_text):
            return cls(paths, layout, _family(model), prediction)
        places = {} if family.original_names is None else family.original_names.places(found["denoiser"])
        rows = {path: weight_shape(inside["denoiser"][path])[0] for path in places}
        return cls(paths, None, family.key, prediction, places, rows, family.kohya_text)

    def members(self, part: str, name: str) -> list[Member]:
        """The modules that a file's layer changes, by its name there, dotted or underscored; none where there are none.

        A name of diffusers is that of one module; a published one may be that of several, whose rows it joins. Before
        a last `qkv`, as XLabs changes a part of a layer, it is that of the first three.
        """
        own = self.paths.get(part, {})
        if (
            path := own.get(_flat(name), own.get(f"{_flat(name)}_0") if name.endswith(".to_out") else None)
        ) is not None:
            return [Member(path)]
        found = self._published.get(_flat(name), ()) if part == "denoiser" else ()
        if not found and part == "denoiser" and name.endswith(".linear1.qkv"):
            found = self._published.get(_flat(name.removesuffix(".qkv")), ())[:3]
        if len(found) == 1 and self.places[found[0]].place is None:
            return [Member(found[0], swapped=self.places[found[0]].swapped)]
        rows = tuple(self.rows[path] for path in found)
        return [Member(path, rows, place) for place, path in enumerate(found)]

    @cached_property
    def _published(self) -> dict[str, tuple[str, ...]]:
        """Paths by published name, underscored; of a joined module those of its members in their order."""
        alone = {_flat(one.name): (path,) for path, one in self.places.items() if one.place is None}
        return alone | {_flat(name): paths for name, paths in self.joined.items()}

    @cached_property
    def joined(self) -> dict[str, tuple[str, ...]]:
        """Paths of the members of each published module that joins several, by its name."""
        return joined_by(dict(self.places))

    def part(self, said: str) -> str:
        """The part that a file's layer belongs to: files number T5 3 where it is a model's last text encoder too."""
        texts = [part for part in TEXT_PARTS if part in self.paths]
        return texts[-1] if self.kohya_text and said == "text_encoder_3" and said not in texts else said

    def kohya(self, part: str, path: str) -> str:
        """The name sd-scripts gives to a module: the published one for SDXL and transformers, else diffusers'."""
        if part == "denoiser":
            original = self.family == "sdxl" and self.layout is not None
            path = self.places[path].name if path in self.places else path
            return "lora_unet_" + _flat(self.layout.original(path) if original and self.layout else path)
        if self.kohya_text:
            return self.kohya_text[TEXT_PARTS.index(part)] + _flat(text_path(path))
        prefix = {"sdxl": {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}}.get(self.family, {})
        return prefix.get(part, "lora_te_") + _flat(text_path(path))


def text_path(path: str) -> str:
    """The path of a text encoder's module as files spell it, whatever the version of transformers."""
    of_clip = path.startswith(("encoder.layers.", "embeddings.", "final_layer_norm"))
    return f"text_model.{path}" if of_clip else path


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
