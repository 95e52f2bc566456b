"""Devices that commands name, tried before any work."""

import dataclasses
from typing import Any

from intaglio.errors import BadInput

CPU = "cpu"


def check_devices(command: Any) -> None:
    """Tries every device that a command or its method names. Raises `BadInput` for one that cannot compute here."""
    for part in (command, getattr(command, "method", None)):
        if not dataclasses.is_dataclass(part):
            continue
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if (field.name == "device" or field.name.endswith("_device")) and isinstance(value, str) and value != CPU:
                _try(field.name, value)


def _try(flag: str, name: str) -> None:
    import torch

    try:
        answer = float((torch.ones(1, device=torch.device(name)) + 1).cpu())
    except Exception as error:  # each backend fails in its own way where it is missing
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise BadInput(
            f"--{flag.replace('_', '-')} {name!r} cannot compute here ({reason}); there is {', '.join(known_devices())}"
        ) from error
    if answer != 2.0:
        raise BadInput(f"--{flag.replace('_', '-')} {name!r} computes 1 + 1 = {answer:g}; use another device")


def known_devices() -> list[str]:
    """The devices of this machine, as `--device` takes them."""
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [CPU, *(f"cuda:{index}" for index in range(cards)), *(["mps"] if torch.backends.mps.is_available() else [])]
