"""Parsing of LoRA files' keys in the layouts of diffusers, PEFT, kohya and ComfyUI."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from intaglio.errors import BadInput

TEXT_PARTS = ("text_encoder", "text_encoder_2")
ADAPTER_METADATA = "lora_adapter_metadata"


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
    ("base_model.model.text_model.", "text_encoder"),
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
    "dora_scale": "DoRA, which rescales the merged weight, is not supported",
    "lora_magnitude_vector": "DoRA, which rescales the merged weight, is not supported",
    "hada_": "LoHa (a Hadamard product of two LoRAs) is not supported",
    "lokr_": "LoKr (a Kronecker product) is not supported",
    "lora_mid.": "a Tucker-decomposed LoCon (lora_mid) is not supported",
    "oft_": "OFT (an orthogonal rotation) is not supported",
    "on_input": "IA3 is not supported",
}


def parse(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], source: str) -> Parsed:
    """Sort a file's tensors into layers. Raises `BadInput`, naming `source`, where the file contradicts itself."""
    found: dict[tuple[str, str], dict[str, tuple[str, torch.Tensor]]] = defaultdict(dict)
    spoilt: dict[tuple[str, str], str] = {}
    parsed = Parsed()
    for key, tensor in tensors.items():
        bare = key.replace("_orig_mod.", "")
        if other := _OTHER.fullmatch(bare):
            why = _KINDS.get(other["kind"], "a full change of a bias, norm or weight is not supported")
            spoilt[_part_and_name(other["name"])] = why
            parsed.unsupported.append(f"{key}: {why}")
        elif lora := _LORA.fullmatch(bare):
            slot = "alpha" if lora["alpha"] else _SLOTS[lora["letter"] or lora["side"]]
            if slot in found[_part_and_name(lora["name"])]:
                raise BadInput(f"{source} holds two adapters for the same layer ({key}); split it into two files.")
            found[_part_and_name(lora["name"])][slot] = (key, tensor)
        else:
            parsed.unsupported.append(f"{key}: not a key of a LoRA")
    alphas = _PeftAlphas(metadata, source)
    for where, slots in found.items():
        _add(parsed, where, slots, spoilt.get(where) or alphas.refusal, alphas)
    return parsed


def _add(parsed: Parsed, where: tuple[str, str], slots: dict, why: str | None, alphas: "_PeftAlphas") -> None:
    keys = [key for key, _ in slots.values()]
    why = why or _incomplete(slots)
    if why:
        parsed.unsupported.extend(f"{key}: {why}" for key in keys)
        return
    down, up = slots["down"][1], slots["up"][1]
    rank = down.shape[0]
    alpha = float(slots["alpha"][1].item()) if "alpha" in slots else alphas.of(*where, rank)
    part, name = where
    parsed.layers[part][name] = Layer(down, up, alpha)
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


def _part_and_name(name: str) -> tuple[str, str]:
    """(part, module name) of a key without its ending."""
    prefix, part = next((prefix, part) for prefix, part in _PREFIXES if name.startswith(prefix))
    name = name.removeprefix(prefix).removeprefix("base_model.model.").replace(".processor.", ".")
    return part, _text_name(name) if part in TEXT_PARTS else re.sub(r"\.to_out$", ".to_out.0", name)


def _text_name(name: str) -> str:
    """One spelling for text encoders: without `text_model.`, which depends on the version of transformers."""
    name = re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", name)  # the oldest diffusers files
    return re.sub(r"^text_model[._]", "", name)


class _PeftAlphas:
    """Alphas out of PEFT's configuration, which diffusers keeps as JSON in the file's metadata."""

    def __init__(self, metadata: Mapping[str, str], source: str):
        raw = metadata.get(ADAPTER_METADATA)
        try:
            config = dict(json.loads(raw)) if raw else {}
            self._alphas = {key: float(value) for key, value in config.items() if key.endswith("lora_alpha")}
            self._patterns = {
                key: [
                    (re.compile(rf"(.*\.)?({path.removeprefix('text_model.')})"), float(alpha))
                    for path, alpha in (value or {}).items()
                ]
                for key, value in config.items()
                if key.endswith("alpha_pattern")
            }
        except (TypeError, ValueError, AttributeError, re.error) as error:
            raise BadInput(f"{source} has unreadable {ADAPTER_METADATA} ({error}); export it again.") from error
        self._by_root = {key for key, value in config.items() if key.endswith("use_rslora") and value}
        dora = any(key.endswith("use_dora") and value for key, value in config.items())
        self.refusal = _KINDS["dora_scale"] if dora else None

    def of(self, part: str, name: str, rank: int) -> float:
        """Alpha such that alpha / rank is the scale PEFT would use; the rank where it gives neither."""
        prefixes = ("unet.", "transformer.", "") if part == "denoiser" else (f"{part}.",)
        prefix = next((prefix for prefix in prefixes if f"{prefix}lora_alpha" in self._alphas), None)
        if prefix is None:
            return float(rank)
        alpha = self._alphas[f"{prefix}lora_alpha"]
        for pattern, value in self._patterns.get(f"{prefix}alpha_pattern", ()):
            if pattern.fullmatch(name):
                alpha = value
                break
        return alpha * math.sqrt(rank) if f"{prefix}use_rslora" in self._by_root else alpha
