"""Lighter settings of a fine-tune that fit the memory there is, each by its own plan."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from intaglio.amounts import size_words
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

if TYPE_CHECKING:
    from intaglio.adapt.data import TrainingSet
    from intaglio.adapt.family import FineTuner

SHARE = 0.9
"""Share of the memory that a plan may take; libraries need some beside it."""
CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Memory that this process may take, where its machine gives it a part."""


def fitting_settings(method: "FineTuner", model: LatentDiffusion, data: "TrainingSet") -> list[str]:
    """Flags with which a call fits, cheapest first: each that does so alone, or else so many together as it takes.

    Each comes with the memory of its plan, as part of a sentence. Empty where nothing fits.
    """
    room = SHARE * device_bytes(model.device)
    together, flags, found = method, dict[str, str](), list[str]()
    for flag, change in _lighter(method, len(data.class_prompts) > 0):
        if (needed := _planned(replace(method, **change), model, data)) <= room:
            found.append(_words(flag, needed))
    if found:
        return found
    for flag, change in _lighter(method, len(data.class_prompts) > 0):
        together, flags[flag.split()[0]] = replace(together, **change), flag
        if (needed := _planned(together, model, data)) <= room:
            return [_words(" ".join(flags.values()), needed)]
    return []


def _lighter(method: "FineTuner", prior: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Flags that need less memory than the settings now, from the one that costs least."""
    pictures = method.step_size(prior)
    if not method.gradient_checkpointing:
        yield "--gradient-checkpointing", {"gradient_checkpointing": True}
    if min(method.micro_batch or pictures, pictures) > 1:
        yield "--micro-batch 1", {"micro_batch": 1}
    if method.precision == "float32":
        yield "--precision bfloat16", {"precision": "bfloat16"}
    if method.optimizer == "adamw" and importlib.util.find_spec("bitsandbytes") is not None:
        yield "--optimizer adamw-8bit", {"optimizer": "adamw-8bit"}
    for kind in ("int8", "nf4") if getattr(method, "base_precision", None) == "stored" else ():
        yield f"--base-precision {kind}", {"base_precision": kind}


def _planned(method: "FineTuner", model: LatentDiffusion, data: "TrainingSet") -> int:
    # As the command does, which drops the stored weights once they are packed.
    return method.dry_plan(method.base_of(model), data).memory_bytes


def _words(flags: str, needed: int) -> str:
    return f"{flags} (about {size_words(needed)})"


def device_bytes(device: torch.device) -> int:
    """Memory that a process may take on a device: what is free, and what it holds already."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    whole = _machine_bytes()
    limit = CGROUP.read_text(encoding="ascii").strip() if CGROUP.is_file() else "max"
    return min(whole, int(limit)) if limit.isdigit() else whole


def _machine_bytes() -> int:
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
