"""Devices that commands name, tried before any work."""

import dataclasses
import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from intaglio.errors import BadInput

CPU = "cpu"
KINDS = ("cpu", "cuda", "mps", "xpu", "hpu", "npu", "mlu", "musa", "vulkan", "xla")
"""Kinds of devices that torch or an extension of it computes on."""
NAME = re.compile(r"([a-z]+)(:[0-9]+)?")


def check_device_name(flag: str, name: str) -> None:
    """Raises `BadInput` for a device that is surely not here, as far as that is known without importing torch."""
    spelt = f"--{flag.replace('_', '-')} {name!r}"
    match = NAME.fullmatch(name)
    if match is None or match[1] not in KINDS:
        raise BadInput(f"{spelt} cannot compute here: torch knows no such device; give cpu, cuda, cuda:1 or mps")
    if match[1] in ("cuda", "xpu") and _processor_build():
        raise BadInput(f"{spelt} cannot compute here: the installed torch is built for the processor alone; give cpu")
    if match[1] == "mps" and sys.platform != "darwin":
        raise BadInput(f"{spelt} cannot compute here: it is a device of Apple's machines; give cpu or cuda")


def _processor_build() -> bool:
    """Whether the installed torch says that it was built without any kind of accelerator."""
    with suppress(PackageNotFoundError):
        return version("torch").endswith("+cpu")
    return False


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
