"""A twin made from source text has the fields of the dataclass that Python makes of the same text."""

import ast
import dataclasses
import textwrap

import pytest

from intaglio.commands.kit.source_settings import Declared, Module, NotUnderstood, default_of

SOURCE = '''
"""A module that could not be imported here."""
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal
import no_such_package_anywhere as heavy

Half = Literal["left", "right"]
SIZE: int = 8

@dataclass(frozen=True)
class Shared:
    """Shared."""
    seed: int = 0
    """Seeds it."""
    top: float = math.inf

@dataclass(frozen=True)
class Method(Shared, heavy.Base[int]):
    """What it does."""
    kind: ClassVar[str] = "x"
    steps: int = SIZE * 2
    half: Half = "left"
    betas: tuple[float, float] = (0.9, 1 - 1e-3)
    limit: int | None = None
    low: float = -1.0
    names: tuple[str, ...] = field(default_factory=tuple)
    at: Path = Path("x")
    top: float = 1.0
    @heavy.decorated
    def __call__(self, x: heavy.Tensor): ...
'''


def declared(source: str, name: str = "Method") -> Declared:
    return Module(ast.parse(textwrap.dedent(source)))[name]


def test_a_twin_has_what_python_would_make_of_the_same_source():
    source = SOURCE.replace(", heavy.Base[int]", "")
    light = "\n".join(line for line in source.splitlines() if "heavy" not in line)
    namespace: dict = {}
    exec(compile(light, "light", "exec"), namespace)
    meant = {f.name: default_of(f) for f in dataclasses.fields(namespace["Method"])}
    found = declared(source)
    assert list(found.fields) == list(meant)
    for name, (_, default) in found.fields.items():
        value = default_of(default) if isinstance(default, dataclasses.Field) else default
        assert value == meant[name]
    assert found.doc == "What it does."


def test_a_docstring_becomes_help():
    annotation, _ = declared(SOURCE, "Shared").fields["seed"]
    assert annotation.__metadata__[0].help == "Seeds it."


@pytest.mark.parametrize(
    "line", ["x: int = heavy.count", "x: heavy.Kind = 1", "x: int = len(open('f').read())", "x: int = [][0]"]
)
def test_what_only_python_can_work_out_is_not_guessed(line):
    source = f"from dataclasses import dataclass\nimport heavy\n@dataclass\nclass Method:\n    {line}\n"
    with pytest.raises(NotUnderstood):
        declared(source)
