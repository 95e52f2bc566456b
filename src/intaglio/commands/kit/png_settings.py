"""`PictureSettings`: the settings of a sampled picture, as text chunks of its PNG that a replay reads back."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.models.embedded_models import EmbeddedModel
from intaglio.printable import is_text, one_line

CHUNK = "intaglio"
"""Key of the PNG's text chunk with all settings, as JSON."""
FORMATS = (1, 2, 3)
"""Versions of that JSON's layout; the second has a method other than plain sampling, the third another start, or noise
that a search chose."""
WEBUI_SAMPLERS = {
    "ddim": "DDIM",
    "euler": "Euler",
    "heun": "Heun",
    "dpm++2m": "DPM++ 2M",
    "ddpm": "DDPM",
    "euler_a": "Euler a",
}
"""Names of the samplers in the usual web interfaces."""
StartName = Literal["unit", "analytic", "ot", "promptgen"]
"""Starts of a sampling."""
DTYPES = ("float32", "float16", "bfloat16", "int8")
"""Precisions of the weights."""
MOST_ROWS = 4096
"""Pictures of a batch that a replay draws at most."""
MAX_SIDE = 30_000
"""Pixels of the longest side of a picture."""
LONGEST_PROMPT = 2**16
"""Letters of the longest prompt: text encoders read some hundred words, and take a minute to cut up megabytes."""
MOST_LEVELS = 3
"""Levels up from the pictures to a folder that they and a model share."""
LONGEST_PATH = 2**16
"""Numbers of the longest path of a search."""
EMBEDDED = "embedded:"
"""Before the name of a model of the package, in place of a path."""
REFERENCES = ("empty", "prompt")
"""Prompts of the base under model guidance."""


@dataclass(frozen=True)
class ModelRecord:
    """A model that a picture was sampled from."""

    name: str
    fingerprint: str
    """SHA-256 of its content, as of `LatentDiffusion.fingerprint`; 64 hex digits."""
    path: str | None
    """Path relative to the picture's folder (see `place`), absolute in pictures of earlier versions; `EMBEDDED` and a
    name for a model of the package that was named; None for the embedded testbed."""


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """The search that chose a picture's noise, and what it chose."""

    name: str
    settings: Mapping[str, Any]
    path: tuple[int, ...]
    """With the picture's seed, the name of the noise; see `intaglio.sampling.search.noise_search`."""
    verifier: str
    verifier_hash: str
    score: float | None
    """The verifier's; None where it had none."""
    budget: int
    """Calls for the picture."""


@dataclass(frozen=True, kw_only=True)
class StartRecord:
    """The start of a picture's sampling."""

    name: StartName
    first: int | None
    """Timestep of the first node; None for the schedule's last."""
    hash: str | None
    """Of what was fitted; None for unit noise."""
    search: SearchRecord | None = None
    """The search of the noise; None: the seed's own noise."""


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
    """Path of the LoRA file, likewise, or None."""
    like: str | None
    """Path of the model that gave what `model` lacks, likewise, or None."""
    base: ModelRecord | None = None
    """The base of model guidance; None for classifier-free guidance."""
    correction: float = 0.0
    reference: str = "empty"
    """The base's prompt, one of `REFERENCES`."""
    method: str = "plain"
    """The method of `intaglio sample`."""
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    """The method's settings, as JSON has them (`recorded_method.stored_settings`)."""
    start: StartRecord | None = None
    """None: the seed's own unit noise at the last timestep."""
    versions: Mapping[str, str]
    """Versions of intaglio, torch and diffusers."""

    def png_text(self) -> dict[str, str]:
        """The PNG's text chunks: `parameters` for the usual web interfaces, and `CHUNK` with everything."""
        return {
            "parameters": self.webui_parameters(),
            CHUNK: json.dumps({"format": self._format, **asdict(self)}, sort_keys=True),
        }

    @property
    def _format(self) -> int:
        if self.start is not None:
            return 3
        return 1 if self.method == "plain" else 2

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
            "Model": one_line(self.model.name.replace(",", " ")),
            "Version": f"intaglio {self.versions['intaglio']}",
        }
        return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in pairs.items())])

    def found(self, text: str | None, picture: Path | None, flag: str) -> Path | None:
        """The path of a file that the picture names. Raises `BadInput` where a relative one leads nowhere."""
        if text is None or picture is None:
            return None
        if (inside := EmbeddedModel(text.removeprefix(EMBEDDED))) in EmbeddedModel.known() and text.startswith(
            EMBEDDED
        ):
            return Path(inside.name)
        path = Path(os.path.normpath(picture.parent / text))
        if not path.exists() and not Path(text).is_absolute():
            raise BadInput(f"there is no model at {path}, with which {picture} was drawn; give it by {flag}")
        return path

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
            return _parsed(parse_json(chunk, str(path)))
        except (BadInput, ValueError, TypeError, KeyError):
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
METHOD_KINDS: dict[str, Any] = {"method": str, "method_settings": dict}
"""Type of each further entry of the second format."""
BASE_KINDS: dict[str, Any] = {"correction": int | float, "reference": str}
"""Type of each further entry of a picture that has a base; pictures of before model guidance have no such entries."""
SEARCH_KINDS: dict[str, Any] = {
    "name": str,
    "settings": dict,
    "path": list,
    "verifier": str,
    "verifier_hash": str,
    "score": int | float | None,
    "budget": int,
}
"""Type of each entry of a search."""
START_KINDS: dict[str, Any] = {"name": str, "first": int | None, "hash": str | None}
"""Type of each entry of a start."""
MODEL_KINDS: dict[str, Any] = {"name": str, "fingerprint": str, "path": str | None}


def _parsed(stored: Any) -> PictureSettings:
    """Raises `ValueError`, `TypeError` or `KeyError` for settings that are not of this format."""
    if stored["format"] not in FORMATS:
        raise ValueError(f"format {stored['format']}")
    width, height = map(int, stored["size"])
    base = stored.get("base")
    settings = PictureSettings(
        **_checked(stored, KINDS | (BASE_KINDS if base else {}) | (METHOD_KINDS if stored["format"] > 1 else {})),
        size=(width, height),
        model=ModelRecord(**_checked(stored["model"], MODEL_KINDS)),
        base=ModelRecord(**_checked(base, MODEL_KINDS)) if base else None,
        start=_start(stored["start"]) if stored["format"] > 2 else None,
    )
    if not _in_range(settings):
        raise ValueError("a setting out of its range")
    return settings


def _search(stored: Any) -> SearchRecord | None:
    """The search of a picture of the third format; errors are those of `_parsed`."""
    if stored is None:
        return None
    entries = _checked(stored, SEARCH_KINDS)
    path = entries["path"]
    if len(path) > LONGEST_PATH or not all(type(number) is int and 0 <= number < 2**63 for number in path):
        raise ValueError("a path")
    return SearchRecord(**{**entries, "path": tuple(path)})


def _start(stored: Any) -> StartRecord | None:
    """The start of a picture of the third format; errors are those of `_parsed`."""
    if stored is None:
        return None
    entries = _checked(stored, START_KINDS)
    if entries["name"] not in get_args(StartName) or not 0 <= (entries["first"] or 0) < 2**31:
        raise ValueError("a start")
    return StartRecord(**entries, search=_search(stored["search"]))


def _in_range(settings: PictureSettings) -> bool:
    known = settings.sampler in WEBUI_SAMPLERS and settings.dtype in DTYPES and settings.reference in REFERENCES
    return (
        known
        and is_text(settings.prompt + settings.negative)
        and max(len(settings.prompt), len(settings.negative)) <= LONGEST_PROMPT
        and 1 <= settings.steps <= 1000
        and 0 <= settings.guidance < float("inf")
        and 0 <= settings.seed < 2**63
        and -1 < settings.correction < 1
        and 1 <= settings.rows <= MOST_ROWS
        and all(1 <= side <= MAX_SIDE for side in settings.size)
    )


def place(path: Path | None, folder: Path) -> str | None:
    """The path of a model relative to the pictures' folder, or its name alone where it lies far from it.

    For a model of the package it is `EMBEDDED` and the name, by which any installation finds it.

    A picture that is passed on shall not tell where its maker keeps things.
    """
    if path is None:
        return None
    if (inside := EmbeddedModel.named(path)) is not None:
        return f"{EMBEDDED}{inside.name}"
    try:
        relative = Path(os.path.relpath(path.resolve(), folder.resolve()))
    except ValueError:  # another drive
        return path.name
    return relative.as_posix() if relative.parts.count("..") <= MOST_LEVELS else path.resolve().name


def _checked(stored: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that `kinds` names. Raises `TypeError` or `KeyError` for one of another type or none."""
    for name, kind in kinds.items():
        if not isinstance(stored[name], kind) or isinstance(stored[name], bool):
            raise TypeError(name)
    return {name: stored[name] for name in kinds}
