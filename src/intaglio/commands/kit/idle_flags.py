"""Flags that were given and that the chosen method or way of working does not use."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.source_settings import default_of
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def idle_flags(command: Any, names: Iterable[str]) -> list[str]:
    """Those of the flags that are unlike their defaults, as they are typed."""
    fields = {field.name: field for field in dataclasses.fields(command)}
    given = [name for name in names if getattr(command, name) != default_of(fields[name])]
    return [f"--{name.replace('_', '-')}" for name in given]


def refuse_idle(command: Any, names: Iterable[str], reason: str) -> None:
    """Raises `BadInput` where a flag was given that has no effect, with the reason."""
    if given := idle_flags(command, names):
        raise BadInput(f"{reason}, so {', '.join(given)} would have no effect; leave {_it(given)} out")


def said_idle(command: Any, names: Iterable[str], reason: str) -> list[str]:
    """A warning where a flag was given that has no effect, with the reason; else none."""
    given = idle_flags(command, names)
    return [f"{reason}, so {', '.join(given)} has no effect"] if given else []


def said_idle_like(like: Path | None, *models: "LatentDiffusion") -> list[str]:
    """A warning where --like was given and each of the models is a folder that lacked nothing; else none."""
    if like is None or not all(_is_whole(model) for model in models):
        return []
    return [f"{' and '.join(model.name for model in models)} had all parts, so --like has no effect"]


def _is_whole(model: "LatentDiffusion") -> bool:
    """Whether a model is a folder of parts, none of which was taken from another."""
    borrowed = any(" taken from " in note for note in model.notes)
    return model.source is not None and (model.source / model.family.folder).is_dir() and not borrowed


def _it(given: list[str]) -> str:
    return "it" if len(given) == 1 else "them"
