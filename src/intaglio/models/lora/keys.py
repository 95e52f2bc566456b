"""Parsing of LoRA files' keys in the layouts of diffusers, PEFT, kohya, LyCORIS, ComfyUI and XLabs."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

import torch

from intaglio.errors import BadInput
from intaglio.models.lora.adapter_layers import AdapterLayer
from intaglio.models.lora.peft_config import CONFIG_NAME, PeftConfig, configs_in_metadata
from intaglio.models.lora.read_layer import MAGNITUDES, read_layer
from intaglio.models.lora.rotation_layers import RotationSettings

TEXT_PARTS = ("text_encoder", "text_encoder_2", "text_encoder_3")


@dataclass
class Parsed:
    """A file's layers by part and name. Names of kohya files are still underscored; a model resolves them."""

    layers: dict[str, dict[str, AdapterLayer]] = field(default_factory=lambda: defaultdict(dict))
    keys: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # the file's keys behind each layer
    unsupported: list[str] = field(default_factory=list)  # "key: why", for every key that was left out
    assumed: list[str] = field(default_factory=list)  # a key of each layer whose alpha nothing says: the rank is taken


NO_KEY = "not a key of a LoRA"
"""The reason that a key is left out whose ending no layout has."""
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
    ("lora_te3_", "text_encoder_3"),
    ("text_encoder_3.", "text_encoder_3"),
    ("base_model.model.text_encoder_3.", "text_encoder_3"),
    ("text_encoders.t5xxl.transformer.", "text_encoder_3"),
    ("lora_transformer_", "denoiser"),
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
    r"[._]lora(?:_linear_layer)?[._](?P<side>down|up|mid)\.weight|"
    r"\.(?P<factor>hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))(?:\.\w+)?|"
    r"\.(?P<rotation>oft_R|oft_blocks|rescale)(?:\.\w+){0,2}|"
    rf"\.(?P<magnitude>{'|'.join(MAGNITUDES)})(?:\.\w+){{0,2}}|"
    r"\.(?P<alpha>alpha))"
)
_LETTERS = {"A": "down", "B": "up"}

_XLABS = re.compile(r"(double|single)(_blocks\.\d+\.)processor\.(qkv|proj)_lora([12]?)\.(?=(?:down|up)\.weight$)")
"""XLabs' names of FLUX.1's layers: by the processor of a block, 1 for the picture's stream and 2 for the text's."""

_OTHER = re.compile(
    r"(?P<name>.+?)\.(?P<kind>oft_(?!R\b|blocks\b)|on_input|lora_B(?:\.\w+)?\.bias|scalar$|diff(?:_b)?$|[wb]_norm$).*"
)
_KINDS = {
    "oft_": "OFT (an orthogonal rotation) of versions of PEFT or LyCORIS before oft_R and oft_blocks is not supported",
    "on_input": "IA3 is not supported",
    "scalar": "a learnt scalar of older versions of LyCORIS is not supported; save the file again with a later one",
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
        bare = _XLABS.sub(_published_name, key.replace("_orig_mod.", ""))
        if other := _OTHER.fullmatch(bare):
            why = _KINDS.get(other["kind"], "a full change of a bias, norm or weight is not supported")
            spoilt[_part_and_name(other["name"], of_part)] = why
            parsed.unsupported.append(f"{key}: {why}")
        elif lora := _LORA.fullmatch(bare):
            found_slot = (lora[group] for group in ("side", "factor", "rotation", "magnitude", "alpha"))
            slot = next((it for it in found_slot if it), None) or _LETTERS[lora["letter"]]
            where = _part_and_name(lora["name"], of_part)
            if slot in found[where]:
                raise BadInput(f"{source} holds two adapters for the same layer ({key}); split it into two files.")
            found[where][slot] = (key, tensor)
        else:
            parsed.unsupported.append(f"{key}: {_what(key)}")
    for where, slots in found.items():
        _add(parsed, where, slots, spoilt.get(where) or strengths.refusal(where[0]), strengths)
    return parsed


def _published_name(found: re.Match[str]) -> str:
    kind, block, layer, stream = found.groups()
    if kind == "double":
        name = f"{'txt' if stream == '2' else 'img'}_attn.{layer}"
    else:
        name = "linear1.qkv" if layer == "qkv" else "linear2"
    return f"{kind}{block}{name}.lora."


def _what(key: str) -> str:
    if word := re.match(r"bundle_emb\.([^.]+)\.", key):
        return f"an embedding of the new word {word[1]!r} that was trained with the LoRA; words are not added"
    if key in ("clip_l", "clip_g", "emb_params"):
        return "an embedding of new words (textual inversion), not a LoRA"
    return NO_KEY


def cause_in_file(problems: Sequence[str]) -> str:
    """Half a sentence on what is wrong with keys of a file that all make no layer, by their reasons."""
    kinds = [line for line in problems if "supported" in line or "embedding" in line]
    if len(kinds) == len(problems):
        return "these are of kinds that are not supported"
    if any(CONFIG_NAME in line for line in problems):
        return "what they need beside them is missing"
    damage = "their tensors are incomplete or do not fit together; save the file again from training"
    return f"some are of kinds that are not supported, of others {damage}" if kinds else damage


def _add(parsed: Parsed, where: tuple[str, str], slots: dict, why: str | None, strengths: "Strengths") -> None:
    keys = [key for key, _ in slots.values()]
    tensors = {slot: tensor for slot, (_, tensor) in slots.items()}
    part, name = where
    unsaid = False

    def alpha_of(rank: int | None) -> float:
        nonlocal unsaid
        if "alpha" in tensors:
            # LyCORIS writes one beside a LoKr of two whole factors too, and does not use it.
            return 1.0 if rank is None else float(tensors["alpha"].item())
        alpha = strengths.alpha(part, name, rank)
        unsaid = alpha is None
        return float(rank or 1) if alpha is None else alpha

    layer = why or read_layer(tensors, alpha_of, strengths.rotation(part))
    if not isinstance(layer, str):
        layer = strengths.contradiction(part, layer.peft_type, set(tensors)) or layer
    if isinstance(layer, str):
        parsed.unsupported.extend(f"{key}: {layer}" for key in keys)
        return
    if unsaid:
        parsed.assumed.append(keys[0])
    parsed.layers[part][name] = layer
    parsed.keys[where] = keys


def _part_and_name(name: str, of_part: str | None = None) -> tuple[str, str]:
    """(part, module name) of a key without its ending; `of_part` overrides the part that the key says."""
    prefix, part = next((prefix, part) for prefix, part in _PREFIXES if name.startswith(prefix))
    part = of_part or part
    if not _BARE_TEXT.match(name):
        name = name.removeprefix(prefix)
    name = name.removeprefix("base_model.model.").replace(".processor.", ".")
    return part, _text_name(name) if part in TEXT_PARTS else name


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

    def rotation(self, part: str) -> RotationSettings | None:
        """The settings of a part's rotations by its configuration; None where it says nothing of them."""
        config = self._of_part(part)
        return None if config is None else config.rotation

    def refusal(self, part: str) -> str | None:
        """The reason that a part's adapter cannot be used, by its configuration; None where it can."""
        config = self._of_part(part)
        return None if config is None else config.refusal

    def contradiction(self, part: str, peft_type: str, slots: Set[str]) -> str | None:
        """The contradiction of a part's configuration to a layer of this type with these slots; None for none."""
        config = self._of_part(part)
        if config is None:
            return None
        if config.peft_type != peft_type:
            return (
                f"its configuration is for an adapter of PEFT's type {config.peft_type}, its weights are of {peft_type}"
            )
        if config.dora and not slots & set(MAGNITUDES):
            return "its configuration says DoRA, but its magnitude (lora_magnitude_vector) is missing"
        return None

    def alpha(self, part: str, name: str, rank: int | None) -> float | None:
        """Alpha by the configuration, else by the metadata of sd-scripts; None where neither says it.

        Without a rank, in a LoKr of two whole factors, alpha over the configuration's rank, as PEFT scales it. Raises
        `BadInput` for a configuration beside the file that says another rank than the layer has.
        """
        config = self._of_part(part)
        if rank is None:
            stated, alpha = (None, None) if config is None else (config.rank_of(name), config.alpha_of(name, 1))
            return None if stated is None or alpha is None else alpha / stated
        stated = None if self.config is None else self.config.rank_of(name)
        if stated not in (None, rank):
            raise BadInput(
                f"{self.source} has rank {rank} in {name}, where {CONFIG_NAME} beside it says {stated}; "
                "give the configuration that belongs to it"
            )
        if config is not None and (alpha := config.alpha_of(name, rank)) is not None:
            return alpha
        said, for_rank = (self.metadata.get(f"ss_network_{name}", "") for name in ("alpha", "dim"))
        return float(said) if re.fullmatch(r"\d+(\.\d+)?", said) and for_rank == str(rank) else None
