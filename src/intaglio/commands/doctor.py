"""`intaglio doctor`: versions, machine and a self-check, as text for a bug report."""

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import intaglio
from intaglio.commands.kit.console import note, say
from intaglio.errors import IntaglioError
from intaglio.printable import aligned

Row = tuple[str, str]


@dataclass(frozen=True)
class Doctor:
    """Print the facts for a bug report: versions, machine, optional groups, the embedded testbed, one small check."""

    check: bool = True
    """Draw one picture with the embedded testbed (some seconds)."""

    def __call__(self) -> None:
        note("looking; torch and diffusers take some seconds to import")
        rows = [*machine(), *compute(), *meters(), *packages(), *testbed(), *(drawing() if self.check else ())]
        say(aligned(rows))


def machine() -> Iterator[Row]:
    """The interpreter, the system, the processor, memory and disk."""
    yield "intaglio", intaglio.__version__
    yield "python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "platform", platform.platform()
    yield "processor", f"{_processor()}, {_cores()} of {os.cpu_count()} cores usable"
    page = os.sysconf("SC_PAGE_SIZE")
    yield "memory", f"{_gigabytes(os.sysconf('SC_PHYS_PAGES') * page)}{_memory_limit()}"
    yield "disk here", f"{_gigabytes(shutil.disk_usage(Path.cwd()).free)} free"


def compute() -> Iterator[Row]:
    """Torch's threads and accelerators."""
    import torch

    yield "torch threads", f"{torch.get_num_threads()} in an operation, {torch.get_num_interop_threads()} between"
    if not torch.cuda.is_available():
        yield "accelerator", "mps" if torch.backends.mps.is_available() else "none"
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", f"{card.name}, {_gigabytes(card.total_memory)}, CUDA {torch.version.cuda}"


def meters() -> Iterator[Row]:
    """The energy meters that can be read for work on this machine, or why there are none."""
    import torch

    from intaglio.meters.machine_meters import meters_for

    found = meters_for("cuda:0" if torch.cuda.is_available() else "cpu")
    names = ", ".join(meter.name for meter in found.meters) or "none"
    yield "energy meters", f"{names}; {found.why_not}" if found.why_not else names


def packages() -> Iterator[Row]:
    """Versions of the required packages, and which optional groups are complete."""
    try:
        requirements = metadata.requires("intaglio") or []
    except metadata.PackageNotFoundError:
        yield "packages", "intaglio is not installed as a package here"
        return
    groups: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"](\S+)['\"]", requirement)
        groups.setdefault(extra.group(1) if extra else "", []).append(name)
    for name in groups.pop("", []):
        yield name, _version(name) or "MISSING"
    for group, names in groups.items():
        absent = [name for name in names if _version(name) is None]
        yield f"group {group}", f"without {', '.join(absent)}" if absent else "whole"


def testbed() -> Iterator[Row]:
    """Fingerprints of the embedded testbed and of the further models beside it, or that it is missing."""
    from intaglio.models.diffusion.loading import load_model
    from intaglio.models.embedded_models import EmbeddedModel
    from intaglio.models.testbed import base_path, sets

    try:
        yield "testbed", f"model {load_model(base_path()).fingerprint[:16]}, {len(sets())} sets"
        for one in EmbeddedModel.known():
            if one.lender is not None:
                yield f"model {one.name}", load_model(one.name).fingerprint[:16]
    except IntaglioError as error:
        yield "testbed", f"MISSING: {error}"


def drawing() -> Iterator[Row]:
    """Self-check: one small picture sampled twice, with equal results."""
    from intaglio.models.diffusion.loading import load_model
    from intaglio.models.testbed import base_path
    from intaglio.sampling.loop import sample

    started = time.monotonic()
    try:
        model = load_model(base_path())
    except IntaglioError:
        return
    first, second = (sample(model, ["a red apple"], [0], steps=2) for _ in range(2))
    seconds = time.monotonic() - started
    same = "drawn twice alike" if first.hashes == second.hashes else "DRAWN TWICE DIFFERENTLY"
    yield "self-check", f"{same} in {seconds:.1f} s, picture {first.hashes[0][:12]}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    return found.group(1) if found else platform.processor() or platform.machine()


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory_limit() -> str:
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return "" if text == "max" else f", of which {_gigabytes(int(text))} may be used"


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
