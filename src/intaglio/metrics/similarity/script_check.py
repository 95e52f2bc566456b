"""TorchScript files, loaded only where all that they can do is compute.

A TorchScript file is a program: it can write and read the files of whoever runs it, and it may begin while it is being
loaded. So the archive is read member by member and may hold nothing but what TorchScript itself writes; its code may
have no part that runs at loading; what was read is what is loaded; and the operations of its methods, with those of all
methods they call, must be on a list (`script_operations`), its loops bounded.
"""

import io
import pickletools
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from intaglio.errors import BadInput
from intaglio.files import open_regular
from intaglio.metrics.similarity.script_operations import HARMLESS

MEMBERS = re.compile(
    r"data\.pkl|constants\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/\w+"
    r"|(data|constants|traced_inputs)/\d+|traced_inputs\.pkl|code/[\w./]+\.py(\.debug_pkl)?|extra/.+"
)
"""Members of an archive, below its one top folder, that TorchScript writes."""
LOADED = re.compile(r"(?!extra/|traced_inputs|code/.*\.debug_pkl)")
"""Of these, what is loaded: not notes for people, nor the example that a network was traced with."""
RUNS_AT_LOADING = re.compile(r"__setstate__|__getstate__|\btorch\.classes\b|__forward(_pre)?_hooks__ = \[.*\w")
"""Code that would run while the file is loaded or beside the network, and classes of other libraries."""
PACKED = 4
"""Times that an archive may grow when it is unpacked; tensors, its greatest part, are stored as they are."""
SPARE = 2**26
"""Bytes that it may grow by in any case: code and its notes are packed tightly."""
MOST_TURNS = 1_000_000
"""Turns of the loops of one call, as far as the program fixes them."""
SHORT_LIST = 64
"""Length that a list of shapes or of written-out items is counted as."""
TRUST = "give a network of plain layers, or a folder of transformers"


def load_script(path: Path, device: torch.device) -> Any:
    """The TorchScript module of a file, in evaluation mode.

    Raises `BadInput` for a plain pickle, an archive that holds anything else, a program that could do more than
    compute, and a file that cannot be loaded.
    """
    archive = _checked_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript itself: files out there are in it
            module = torch.jit.load(archive, map_location=device).eval()
    except Exception as error:
        raise BadInput(f"{path} cannot be loaded as TorchScript ({first_line(error)}); export it again") from error
    if not module._c._has_method("forward"):
        raise BadInput(f"{path} has no forward method, so it is no network; export the network itself")
    for kind in _forbidden(module):
        raise BadInput(f"{path} asks for {kind}, which may do more than compute, and is not run; {TRUST}")
    return module


def first_line(error: Exception) -> str:
    """The first line of an error, shortened."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


# The archive


def _checked_archive(path: Path) -> io.BytesIO:
    """The archive, written anew in memory from members that were checked: no second reader can find others."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return _rewritten(archive, path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        raise BadInput(_no_script(path)) from None


def _rewritten(archive: zipfile.ZipFile, path: Path) -> io.BytesIO:
    members = _members(archive, path)
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as copy:
        for name, member in members.items():
            if LOADED.match(name):
                content = archive.read(member)
                _refuse_early_code(name, content, path)
                copy.writestr(f"network/{name}", content)
    fresh.seek(0)
    return fresh


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members by name below the top folder."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.partition("/")[2]
        if not member.is_dir() and found.setdefault(name, member) is not member:
            raise BadInput(f"{path} holds {name!r} twice, so two readers may see two networks; export it again")
    if "constants.pkl" not in found or not any(name.startswith("code/") for name in found):
        raise BadInput(_no_script(path))
    if foreign := [name for name in found if not MEMBERS.fullmatch(name) or ".." in name]:
        raise BadInput(f"{path} holds {foreign[0]!r}, which is no part of a TorchScript network; export it again")
    if len({member.filename.partition("/")[0] for member in found.values()}) > 1:
        raise BadInput(f"{path} holds more than one network; export the one that is meant")
    if sum(member.file_size for member in found.values()) > PACKED * path.stat().st_size + SPARE:
        raise BadInput(f"{path} unpacks to far more than it is; export it again")
    return found


def _no_script(path: Path) -> str:
    return (
        f"{path} is a pickle, which can run any code when loaded, not TorchScript; export the network with "
        "torch.jit.trace(network, example).save(...) where you trust its source, and give that file"
    )


def _refuse_early_code(name: str, content: bytes, path: Path) -> None:
    texts = [content.decode(errors="replace")] if name.endswith(".py") else []
    if name.endswith(".pkl"):
        texts = list(_words(content, path))
    for text in texts:
        if found := RUNS_AT_LOADING.search(text):
            raise BadInput(f"{path} has {found[0].split(' ')[0]}, a program that runs beside the network; {TRUST}")


def _words(pickle: bytes, path: Path) -> Iterator[str]:
    """The names in a pickle, which is read and not run."""
    try:
        for _, argument, _ in pickletools.genops(pickle):
            if isinstance(argument, str):
                yield argument.replace(" ", ".")
    except Exception as error:
        raise BadInput(f"{path} cannot be loaded as TorchScript (its values are damaged); export it again") from error


# The program


def _forbidden(module: Any) -> Iterator[str]:
    """Requests of the program beyond the list: operations, loops without a bound, hooks."""
    for part in module.modules():
        if part._c._get_forward_hooks() or part._c._get_forward_pre_hooks():
            yield "a hook"
    for name in module._c._method_names():
        graph = module._c._get_method(name).graph.copy()
        torch._C._jit_pass_inline(graph)
        yield from _of_block(graph, 1)


def _of_block(block: Any, turns: int) -> Iterator[str]:
    for node in block.nodes():
        inner = turns
        if node.kind() == "prim::Loop":
            limit = _limit(node.inputsAt(0))
            inner = MOST_TURNS + 1 if limit is None else turns * max(limit, 1)
            if inner > MOST_TURNS:
                yield "a loop whose end is not fixed"
        elif node.kind() not in HARMLESS:
            yield f"the operation {node.kind()}"
        for nested in node.blocks():
            yield from _of_block(nested, inner)


def _limit(value: Any) -> int | None:
    """The largest that a whole number of the program can become; None where the program does not fix it."""
    node = value.node()
    if node.kind() == "prim::Constant":
        constant = value.toIValue()
        return abs(constant) if isinstance(constant, int) else None
    if node.kind() == "aten::dim":
        return SHORT_LIST
    if node.kind() == "aten::len":
        return SHORT_LIST if _is_short(node.inputsAt(0)) else None
    if node.kind() in ("aten::add", "aten::sub", "aten::__range_length", "aten::floordiv", "aten::neg", "prim::max"):
        parts = [_limit(part) for part in node.inputs()]
        return None if None in parts else sum(part for part in parts if part is not None)
    return None


def _is_short(value: Any) -> bool:
    """Whether a list is a shape, or written out item by item."""
    return value.node().kind() in ("aten::size", "prim::ListConstruct", "aten::chunk", "aten::split", "aten::unbind")
