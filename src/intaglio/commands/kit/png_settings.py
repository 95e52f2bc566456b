"""`PictureSettings`: the settings of a sampled picture, as text chunks of its PNG that a replay reads back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.errors import BadInput

CHUNK = "intaglio"
"""Key of the PNG's text chunk with all settings, as JSON."""
FORMAT = 1
"""Version of that JSON's layout."""
WEBUI_SAMPLERS = {
    "ddim": "DDIM",
    "euler": "Euler",
    "heun": "Heun",
    "dpm++2m": "DPM++ 2M",
    "ddpm": "DDPM",
    "euler_a": "Euler a",
}
"""Names of the samplers in the usual web interfaces."""
DTYPES = ("float32", "float16", "bfloat16")
"""Precisions of the weights."""
REFERENCES = ("empty", "prompt")
"""Prompts of the base under model guidance."""


@dataclass(frozen=True)
class ModelRecord:
    """A model that a picture was sampled from."""

    name: str
    fingerprint: str
    """SHA-256 of its content, as of `LatentDiffusion.fingerprint`; 64 hex digits."""
    path: str | None
    """Absolute path; None for the embedded model."""


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """All that it takes to sample one picture again."""

    prompt: str
    negative: str
    seed: int
    sampler: str
    """A key of `WEBUI_SAMPLERS`."""
    steps: int
    guidance: float
    """Guidance scale, 0 or more."""
    size: tuple[int, int]
    """Width and height, pixels."""
    rows: int
    """Pictures in the batch that it was sampled in, 1 or more: the last bits of a network depend on it."""
    dtype: str
    """Precision of the weights, one of `DTYPES`."""
    device: str
    model: ModelRecord
    lora: str | None
    """Absolute path of the LoRA file, or None."""
    like: str | None
    """Absolute path of the model that gave what `model` lacks, or None."""
    base: ModelRecord | None = None
    """The base of model guidance; None for classifier-free guidance."""
    correction: float = 0.0
    reference: str = "empty"
    """The base's prompt, one of `REFERENCES`."""
    versions: Mapping[str, str]
    """Versions of intaglio, torch and diffusers."""

    def png_text(self) -> dict[str, str]:
        """The PNG's text chunks: `parameters` for the usual web interfaces, and `CHUNK` with everything."""
        return {
            "parameters": self.webui_parameters(),
            CHUNK: json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True),
        }

    def webui_parameters(self) -> str:
        """The settings in the text format that the usual web interfaces write and read."""
        lines = [self.prompt]
        if self.negative:
            lines.append(f"Negative prompt: {self.negative}")
        width, height = self.size
        pairs = {
            "Steps": self.steps,
            "Sampler": WEBUI_SAMPLERS[self.sampler],
            "CFG scale": f"{self.guidance:g}",
            "Seed": self.seed,
            "Size": f"{width}x{height}",
            "Model hash": self.model.fingerprint[:10],
            "Model": self.model.name.replace(",", " "),
            "Version": f"intaglio {self.versions['intaglio']}",
        }
        return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in pairs.items())])

    @classmethod
    def read(cls, path: Path) -> "PictureSettings":
        """The settings in a PNG of `intaglio sample`. Raises `BadInput` for any other file."""
        from intaglio.images.image_set import read_png_text

        if not path.is_file():
            raise BadInput(f"--replay {path} is no file; give a PNG that `intaglio sample` drew")
        chunk = read_png_text(path).get(CHUNK)
        if chunk is None:
            raise BadInput(f"{path} carries no settings of intaglio; give a PNG that it drew, without --no-metadata")
        try:
            return _parsed(json.loads(chunk))
        except (ValueError, TypeError, KeyError):
            raise BadInput(
                f"the settings in {path} are damaged or of another version; use the version that drew it"
            ) from None


KINDS: dict[str, Any] = {
    "prompt": str,
    "negative": str,
    "seed": int,
    "sampler": str,
    "steps": int,
    "guidance": int | float,
    "rows": int,
    "dtype": str,
    "device": str,
    "lora": str | None,
    "like": str | None,
    "versions": dict,
}
"""Type of each plain entry of the JSON."""
BASE_KINDS: dict[str, Any] = {"correction": int | float, "reference": str}
"""Type of each further entry of a picture that has a base; pictures of before model guidance have no such entries."""
MODEL_KINDS: dict[str, Any] = {"name": str, "fingerprint": str, "path": str | None}


def _parsed(stored: Any) -> PictureSettings:
    """Raises `ValueError`, `TypeError` or `KeyError` for settings that are not of this format."""
    if stored["format"] != FORMAT:
        raise ValueError(f"format {stored['format']}")
    width, height = stored["size"]
    base = stored.get("base")
    settings = PictureSettings(
        **_checked(stored, KINDS | (BASE_KINDS if base else {})),
        size=(width, height),
        model=ModelRecord(**_checked(stored["model"], MODEL_KINDS)),
        base=ModelRecord(**_checked(base, MODEL_KINDS)) if base else None,
    )
    known = settings.sampler in WEBUI_SAMPLERS and settings.dtype in DTYPES and settings.reference in REFERENCES
    if not known or settings.rows < 1:
        raise ValueError("a setting out of its range")
    return settings


def _checked(stored: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that `kinds` names. Raises `TypeError` or `KeyError` for one of another type or none."""
    for name, kind in kinds.items():
        if not isinstance(stored[name], kind):
            raise TypeError(name)
    return {name: stored[name] for name in kinds}
