"""Parsing of LoRA files' keys in the layouts of diffusers, PEFT, kohya and ComfyUI."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch

from intaglio.errors import BadInput
from intaglio.models.lora.peft_config import CONFIG_NAME, DORA, PeftConfig, configs_in_metadata

TEXT_PARTS = ("text_encoder", "text_encoder_2")


class Layer(NamedTuple):
    """The low-rank change of one module's weight: `alpha / rank * up @ down`."""

    down: torch.Tensor  # [rank, in] or [rank, in, kernel, kernel]
    up: torch.Tensor  # [out, rank] or [out, rank, 1, 1]
    alpha: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass
class Parsed:
    """A file's layers by part and name. Names of kohya files are still underscored; a model resolves them."""

    layers: dict[str, dict[str, Layer]] = field(default_factory=lambda: defaultdict(dict))
    keys: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # the file's keys behind each layer
    unsupported: list[str] = field(default_factory=list)  # "key: why", for every key that was left out
    assumed: list[str] = field(default_factory=list)  # a key of each layer whose alpha nothing says: the rank is taken


_BARE_TEXT = re.compile(r"(?:base_model\.model\.)?encoder\.layers\.\d")
"""A module of a text encoder on its own, as transformers of version 5 names it."""
_PREFIXES = (
    ("base_model.model.text_encoder_2.", "text_encoder_2"),
    ("base_model.model.text_encoder.", "text_encoder"),
    ("base_model.model.unet.", "denoiser"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder.", "text_encoder"),
    ("unet.", "denoiser"),
    ("transformer.", "denoiser"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te1_", "text_encoder"),
    ("lora_te_", "text_encoder"),
    ("lora_unet_", "denoiser"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
    ("text_encoders.clip_h.transformer.", "text_encoder"),
    ("text_encoders.clip_l.transformer.", "text_encoder"),
    ("diffusion_model.", "denoiser"),
    ("lycoris_text_model_", "text_encoder"),
    ("lycoris_", "denoiser"),
    ("base_model.model.text_model.", "text_encoder"),
    ("base_model.model.encoder.layers.", "text_encoder"),
    ("encoder.layers.", "text_encoder"),
    ("base_model.model.", "denoiser"),
    ("text_model.", "text_encoder"),
    ("", "denoiser"),
)

_LORA = re.compile(
    r"(?P<name>.+?)(?:"
    r"\.lora_(?P<letter>[AB])(?:\.\w+)?\.weight|"
    r"[._]lora(?:_linear_layer)?[._](?P<side>down|up)\.weight|"
    r"\.(?P<alpha>alpha))"
)
_SLOTS = {"A": "down", "B": "up", "down": "down", "up": "up"}

_OTHER = re.compile(
    r"(?P<name>.+?)\.(?P<kind>dora_scale|lora_magnitude_vector|hada_|lokr_|lora_mid\.|oft_|on_input|"
    r"lora_B(?:\.\w+)?\.bias|diff(?:_b)?$|[wb]_norm$).*"
)
_KINDS = {
    "dora_scale": DORA,
    "lora_magnitude_vector": DORA,
    "hada_": "LoHa (a Hadamard product of two LoRAs) is not supported",
    "lokr_": "LoKr (a Kronecker product) is not supported",
    "lora_mid.": "a Tucker-decomposed LoCon (lora_mid) is not supported",
    "oft_": "OFT (an orthogonal rotation) is not supported",
    "on_input": "IA3 is not supported",
}


def parse(tensors: Mapping[str, torch.Tensor], strengths: "Strengths", of_part: str | None = None) -> Parsed:
    """A file's layers, by part and name.

    `of_part` is the one part that all of them belong to, where something besides their keys says so. Raises `BadInput`
    where the file contradicts itself.
    """
    source = strengths.source
    found: dict[tuple[str, str], dict[str, tuple[str, torch.Tensor]]] = defaultdict(dict)
    spoilt: dict[tuple[str, str], str] = {}
    parsed = Parsed()
    for key, tensor in tensors.items():
        bare = key.replace("_orig_mod.", "")
        if other := _OTHER.fullmatch(bare):
            why = _KINDS.get(other["kind"], "a full change of a bias, norm or weight is not supported")
            spoilt[_part_and_name(other["name"], of_part)] = why
            parsed.unsupported.append(f"{key}: {why}")
        elif lora := _LORA.fullmatch(bare):
            slot = "alpha" if lora["alpha"] else _SLOTS[lora["letter"] or lora["side"]]
            where = _part_and_name(lora["name"], of_part)
            if slot in found[where]:
                raise BadInput(f"{source} holds two adapters for the same layer ({key}); split it into two files.")
            found[where][slot] = (key, tensor)
        else:
            parsed.unsupported.append(f"{key}: {_what(key)}")
    for where, slots in found.items():
        _add(parsed, where, slots, spoilt.get(where) or strengths.refusal(where[0]), strengths)
    return parsed


def _what(key: str) -> str:
    if word := re.match(r"bundle_emb\.([^.]+)\.", key):
        return f"an embedding of the new word {word[1]!r} that was trained with the LoRA; words are not added"
    if key in ("clip_l", "clip_g", "emb_params"):
        return "an embedding of new words (textual inversion), not a LoRA"
    return "not a key of a LoRA"


def _add(parsed: Parsed, where: tuple[str, str], slots: dict, why: str | None, strengths: "Strengths") -> None:
    keys = [key for key, _ in slots.values()]
    why = why or _incomplete(slots)
    if why:
        parsed.unsupported.extend(f"{key}: {why}" for key in keys)
        return
    down, up = slots["down"][1], slots["up"][1]
    rank = down.shape[0]
    alpha = float(slots["alpha"][1].item()) if "alpha" in slots else strengths.alpha(*where, rank)
    part, name = where
    if alpha is None:
        parsed.assumed.append(keys[0])
    parsed.layers[part][name] = Layer(down, up, float(rank) if alpha is None else alpha)
    parsed.keys[where] = keys


def _incomplete(slots: Mapping[str, tuple[str, torch.Tensor]]) -> str | None:
    for slot in ("down", "up"):
        if slot not in slots:
            return f"its {slot} weight is missing"
    down, up = slots["down"][1], slots["up"][1]
    if down.ndim not in (2, 4) or up.ndim != down.ndim or up.shape[1] != down.shape[0] or 0 in down.shape:
        return f"down {tuple(down.shape)} and up {tuple(up.shape)} do not fit together"
    if up.ndim == 4 and up.shape[2:] != (1, 1):
        return f"up {tuple(up.shape)} is not a 1x1 convolution"
    if "alpha" in slots and slots["alpha"][1].numel() != 1:
        return "its alpha is not one number"
    return None


def _part_and_name(name: str, of_part: str | None = None) -> tuple[str, str]:
    """(part, module name) of a key without its ending; `of_part` overrides the part that the key says."""
    prefix, part = next((prefix, part) for prefix, part in _PREFIXES if name.startswith(prefix))
    part = of_part or part
    if not _BARE_TEXT.match(name):
        name = name.removeprefix(prefix)
    name = name.removeprefix("base_model.model.").replace(".processor.", ".")
    return part, _text_name(name) if part in TEXT_PARTS else re.sub(r"\.to_out$", ".to_out.0", name)


def _text_name(name: str) -> str:
    """One spelling for text encoders: without `text_model.`, which depends on the version of transformers."""
    name = re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", name)  # the oldest diffusers files
    return re.sub(r"^text_model[._]", "", name)


@dataclass(frozen=True)
class Strengths:
    """Sources of the alphas of layers that have no key for it."""

    metadata: Mapping[str, str]
    """The file's."""
    source: str
    """The file, as errors name it."""
    config: PeftConfig | None = None
    """PEFT's configuration beside the file."""

    @cached_property
    def _stored(self) -> dict[str, PeftConfig]:
        return configs_in_metadata(self.metadata, self.source)

    def _of_part(self, part: str) -> PeftConfig | None:
        prefixes = ("unet", "transformer", "") if part == "denoiser" else (part, "")
        return self.config or next((self._stored[prefix] for prefix in prefixes if prefix in self._stored), None)

    def refusal(self, part: str) -> str | None:
        """The reason that a part's adapter cannot be used, by its configuration; None where it can."""
        config = self._of_part(part)
        return None if config is None else config.refusal

    def alpha(self, part: str, name: str, rank: int) -> float | None:
        """Alpha by the configuration, else by the metadata of sd-scripts; None where neither says it.

        Raises `BadInput` for a configuration beside the file that says another rank than the layer has.
        """
        stated = None if self.config is None else self.config.rank_of(name)
        if stated not in (None, rank):
            raise BadInput(
                f"{self.source} has rank {rank} in {name}, where {CONFIG_NAME} beside it says {stated}; "
                "give the configuration that belongs to it"
            )
        config = self._of_part(part)
        if config is not None and (alpha := config.alpha_of(name, rank)) is not None:
            return alpha
        said, for_rank = (self.metadata.get(f"ss_network_{name}", "") for name in ("alpha", "dim"))
        return float(said) if re.fullmatch(r"\d+(\.\d+)?", said) and for_rank == str(rank) else None
