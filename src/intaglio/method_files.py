"""Methods as the files of a folder.

A file in a verb's folder of methods is a method: its name with dashes is the method's name, its one public frozen
dataclass the settings, the first sentence of that class's docstring the summary. A method of several files is a folder
with the class in `method.py`. Sources are read, not imported, so that `intaglio --help` stays instant.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent
ARGUMENTS = r"(?:[^()]|\([^()]*\))*"
DECLARED = re.compile(
    rf'^@dataclass\({ARGUMENTS}\bfrozen=True{ARGUMENTS}\)\nclass ([A-Za-z]\w*)[^\n]*:\n    r?"""(.+?)"""',
    re.MULTILINE | re.DOTALL,
)
BASELINE = re.compile(r'^    role(: ClassVar\[[^\n]*\])? = "baseline"', re.MULTILINE)
MAIN = ("method", "bench")
"""Names of the file that holds the class of a method of several files."""


class Method(NamedTuple):
    """A method's place in the package, and its summary in one line."""

    target: str
    """`module:Class`"""
    summary: str
    fault: str = ""
    """Why its file cannot be a method, in a sentence; empty where it is one. Other methods are not touched by it."""


class Methods(Mapping[str, Method]):
    """The methods of one folder by name, in the order of the alphabet; the folder is read when first asked."""

    def __init__(self, package: str):
        """`package`: the folder's place below `intaglio`, with dots."""
        self.package = package

    @cached_property
    def _found(self) -> dict[str, Method]:
        paths = sorted(PACKAGE.joinpath(*self.package.split(".")).iterdir())
        sources = {path.stem.replace("_", "-"): source for path in paths if (source := _source(path))}
        return {name: _declared(source) for name, source in sources.items()}

    def __getitem__(self, name: str) -> Method:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class FileName:
    """A class variable of a family: the name of a method, which is that of its file, with dashes."""

    def __get__(self, instance: object, owner: type) -> str:
        folder, _, stem = f"..{owner.__module__}".rpartition(".")
        folder = folder.rpartition(".")[2]
        return (folder if stem in MAIN else stem).replace("_", "-")


def _source(path: Path) -> Path | None:
    """The file that declares a method, for an entry of a folder of methods; None where the entry is no method."""
    if path.name.startswith(("_", ".")):
        return None
    if path.suffix == ".py":
        return path
    return next((file for name in MAIN if (file := path / f"{name}.py").is_file()), None)


def _declared(path: Path) -> Method:
    """The method that a file declares; one with a fault where it declares none, or several."""
    source = path.read_text(encoding="utf-8")
    module = ".".join(("intaglio", *path.relative_to(PACKAGE).with_suffix("").parts))
    public = [found for found in DECLARED.findall(source) if not found[0].startswith("_")]
    if len(public) != 1:
        names = " and ".join(name for name, _ in public) or "none"
        fault = (
            f"{path.name} is no method: it must declare one public frozen dataclass with a docstring, and declares "
            f"{names}; let the names of others begin with an underscore, or move them out"
        )
        return Method(module, f"({fault})", fault)
    ((name, doc),) = public
    return Method(f"{module}:{name}", _first_sentence(doc) + ("; a baseline" if BASELINE.search(source) else ""))


def _first_sentence(doc: str) -> str:
    words = " ".join(doc.partition("\n\n")[0].split())
    # A dot before a small letter, such as that of "i.e.", ends no sentence.
    return re.split(r"\.(?:\s+(?=[^a-z\s])|$)", words, maxsplit=1)[0]
