"""PEFT's configuration of an adapter: ranks, alphas, and the kinds of adapters that it can say.

It lies beside an adapter as `adapter_config.json`, or, for each part of a model, in the metadata of diffusers' files.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from intaglio.data_files import Fields, is_number, parse_json
from intaglio.errors import BadInput
from intaglio.models.lora.rotation_layers import RotationSettings

ADAPTER_METADATA = "lora_adapter_metadata"
"""Key of diffusers' metadata that holds the configurations as JSON."""
CONFIG_NAME = "adapter_config.json"
_ALPHAS = {"LORA": "lora_alpha", "LOHA": "alpha", "LOKR": "alpha", "OFT": "alpha"}
"""The types of adapters that are read, by PEFT's names, with the field of their alpha; an OFT has none."""
_ROTATIONS_SINCE = (0, 18)
"""The version of PEFT since which the series of its rotations is this one."""
_CLASSES = {
    "UNet2DConditionModel": "denoiser",
    "CLIPTextModel": "text_encoder",
    "CLIPTextModelWithProjection": "text_encoder_2",
}
_OTHER_KINDS = ("alora_invocation_tokens", "arrow_config", "layer_replication", "use_qalora", "use_bdlora")
_CHANGED_BASES = ("pissa", "olora", "corda", "loftq")
_LONGEST_PATTERN = 300


@dataclass(frozen=True)
class PeftConfig:
    """The configuration of the adapter of one part."""

    rank: int | None
    alpha: float | None
    ranks: tuple[tuple[re.Pattern[str], float], ...]
    """Ranks of the modules whose path ends as a pattern says; the first that fits counts."""
    alphas: tuple[tuple[re.Pattern[str], float], ...]
    rslora: bool
    """Whether the scale is alpha over the root of the rank (arXiv 2312.03732)."""
    refusal: str | None
    """Why such an adapter cannot be used; None where it can."""
    part: str | None
    """The part of a model that it says it is for; None where it does not."""
    base_class: str = ""
    """The class of the network that it changes; empty where it says none."""
    peft_type: str = "LORA"
    """PEFT's name of the kind of adapter: LORA, LOHA, LOKR, OFT."""
    dora: bool = False
    """Whether every layer has a magnitude too."""
    rotation: RotationSettings | None = None
    """Of an OFT."""

    @classmethod
    def of(cls, fields: Fields) -> "PeftConfig":
        """From the fields of a `LoraConfig`, `LoHaConfig`, `LoKrConfig` or `OFTConfig`.

        Raises `BadInput`, naming their source, for wrong types and ranges.
        """
        kind = fields.text("peft_type", "LORA")
        base = fields.table("auto_mapping", None)
        base_class = "" if base is None else base.text("base_model_class", "")
        return cls(
            rank=None if kind == "OFT" else fields.whole("r", None, 1),
            alpha=fields.number(_ALPHAS.get(kind, "lora_alpha"), None),
            ranks=_patterns(fields, "rank_pattern"),
            alphas=_patterns(fields, "alpha_pattern"),
            rslora=fields.flag("use_rslora", False),
            refusal=_refusal(fields),
            part=_CLASSES.get(base_class),
            base_class=base_class,
            peft_type=kind,
            dora=fields.flag("use_dora", False),
            rotation=_rotation(fields) if kind == "OFT" else None,
        )

    def alpha_of(self, name: str, rank: int) -> float | None:
        """Alpha of a module such that alpha / rank is the scale that PEFT would use; None where none is said."""
        alpha = _first(self.alphas, name, self.alpha)
        if alpha is None:
            return None
        return alpha * math.sqrt(rank) if self.rslora else alpha

    def rank_of(self, name: str) -> int | None:
        """The rank of a module; None where none is said."""
        rank = _first(self.ranks, name, self.rank)
        return None if rank is None else int(rank)


def read_config(path: Path) -> PeftConfig:
    """The configuration in an `adapter_config.json`. Raises `BadInput` where it cannot be read."""
    return PeftConfig.of(Fields.read(path, constants=True))


def configs_in_metadata(metadata: Mapping[str, str], source: str) -> dict[str, PeftConfig]:
    """The configurations in a file's metadata by the prefix of their part: `unet`, `text_encoder`; empty: for all."""
    if not (raw := metadata.get(ADAPTER_METADATA)):
        return {}
    where = f"{ADAPTER_METADATA} of {source}"
    fields = Fields.of(parse_json(raw, where, constants=True), where)
    grouped: dict[str, dict] = {}
    for key, value in fields.values.items():
        prefix, _, name = key.rpartition(".")
        grouped.setdefault(prefix, {})[name] = value
    return {prefix: PeftConfig.of(Fields(found, where)) for prefix, found in grouped.items()}


def _refusal(fields: Fields) -> str | None:
    kind = fields.text("peft_type", "LORA")
    if kind not in _ALPHAS:
        return f"an adapter of PEFT's type {kind} is not supported"
    if kind == "OFT" and (why := _why_no_rotation(fields)) is not None:
        return why
    if named := next((key for key in _OTHER_KINDS if fields.values.get(key)), None):
        return f"{named} in its configuration is not supported"
    start = str(fields.values.get("init_lora_weights")).lower()
    if start.startswith(_CHANGED_BASES):
        return f"init_lora_weights {start} changed the base's own weights; convert it to a plain LoRA with PEFT"
    return None


def _rotation(fields: Fields) -> RotationSettings:
    return RotationSettings(
        series=fields.flag("use_cayley_neumann", True),
        terms=fields.whole("num_cayley_neumann_terms", 5, 1, 1000),
        bound=fields.number("eps", 6e-5) if fields.flag("coft", False) else None,
        shared=fields.flag("block_share", False),
        version=str(fields.values.get("peft_version") or ""),
    )


def _why_no_rotation(fields: Fields) -> str | None:
    if "oft_block_size" not in fields.values:
        return "an OFT of PEFT before 0.14 is made otherwise, and is not supported; train it again"
    if "use_cayley_neumann" not in fields.values:
        return "its configuration does not say how the rotation is made (use_cayley_neumann); save it with PEFT 0.18"
    found = re.match(r"(\d+)\.(\d+)", str(fields.values.get("peft_version")))
    made = (int(found[1]), int(found[2])) if found else (0, 0)
    if fields.flag("use_cayley_neumann", True) and made < _ROTATIONS_SINCE:
        return "an OFT of PEFT before 0.18 has another series of Cayley's transform, and is not supported"
    return None


def _patterns(fields: Fields, key: str) -> tuple[tuple[re.Pattern[str], float], ...]:
    table = fields.table(key, None)
    return () if table is None else tuple(_pattern(table, path, value) for path, value in table.values.items())


def _pattern(table: Fields, path: str, value: object) -> tuple[re.Pattern[str], float]:
    # Patterns come from strangers: a repeated group can take a time without bound to match.
    if not is_number(value) or len(path) > _LONGEST_PATTERN or re.search(r"\)[*+{?]", path) or path.count("*") > 4:
        raise BadInput(f"{table.source} has {path[:60]!r}, which is no pattern with a number; {table.remedy}")
    try:
        return re.compile(rf"(.*\.)?({path.removeprefix('text_model.')})"), float(value)  # type: ignore[arg-type]
    except re.error as error:
        raise BadInput(f"{table.source} has {path[:60]!r}, which is no pattern ({error}); {table.remedy}") from None


def _first(
    patterns: tuple[tuple[re.Pattern[str], float], ...], name: str, default: float | int | None
) -> float | int | None:
    return next((value for pattern, value in patterns if pattern.fullmatch(name)), default)
