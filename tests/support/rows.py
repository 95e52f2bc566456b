"""The rows of the shared tests: what they must know of a method, read from the method's own test.

The own test of `src/intaglio/<room>/methods/<name>.py` is `tests/<room>/methods/test_<name>.py`; it says, as literals:

    SMALL = {"steps": 3}        settings of a call of about a second, of several steps, to be killed between two
    BAD = {"steps": -1}         one setting that is refused
    PIECES = {"batch": 1}       settings that cut the work into smaller pieces and leave the result, up to rounding;
                                empty where every piece has randomness of its own
    VARIANTS = {"bayesian": {"SMALL": {...}, "BAD": {...}, "PIECES": {...}}}      further ways to run it, if any;
                                their SMALL is added to that of the method
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from intaglio.verbs import MAIN, VERBS, Method

TESTS = Path(__file__).parents[1]
WITHOUT = {"bench", "energy estimate", "sample"}
"""Verbs whose methods keep no run of their own that could be killed: benches, formulas over a profile, and sampling,
whose shared test is tests/sampling/test_every_method.py."""
MODELS = "others"
"""Name of the settings that are further models, by their folders' names."""
MODELLESS = (
    "audit attribution",
    "audit drawings",
    "audit inference",
    "audit queries",
    "causal cate",
    "causal debias",
    "causal transfer",
    "discover",
    "explain",
    "explain collection",
    "explain blindspots",
    "explain concepts",
    "explain counterfactuals",
    "explain slices",
    "explain heads",
    "explain selectors",
    "explain paths",
    "explain repair",
    "explain series",
    "explain sharpening",
    "explain surrogate",
    "explain weights",
    "flow sample",
    "protect certify",
    "protect private",
)
"""Verbs whose methods take no text-to-image model."""
NAMES = ("SMALL", "BAD", "PIECES")


class Row(NamedTuple):
    """One way to run a method, in the shared tests."""

    key: str
    """Verb, method, and variant where there is one."""
    verb: str
    method: str
    target: str
    """`module:Class`"""
    small: Mapping[str, Any]
    bad: Mapping[str, Any]
    pieces: Mapping[str, Any]


def own_test(method: Method, tests: Path = TESTS) -> Path:
    """The path of a method's own test."""
    parts = method.target.partition(":")[0].split(".")[1:]
    *folders, stem = parts[:-1] if parts[-1] in MAIN else parts
    return tests.joinpath(*folders, f"test_{stem}.py")


def literals(path: Path) -> dict[str, Any]:
    """The constants that a file assigns at its top, where they are literals."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in (*NAMES, "VARIANTS"):
                found[name] = ast.literal_eval(value)
    return found


def rows_of(verb: str, name: str, method: Method, tests: Path = TESTS) -> dict[str, Row]:
    """The rows of one method. Raises `LookupError` for an own test that is not there, or does not say all."""
    path = own_test(method, tests)
    if not path.is_file():
        raise LookupError(f"{verb} {name} has no test of its own; write {path.relative_to(tests.parent)}")
    said = literals(path)
    if missing := [name for name in NAMES if name not in said]:
        raise LookupError(f"{path.relative_to(tests.parent)} does not say {', '.join(missing)}; see {__name__}")
    rows = [Row(f"{verb} {name}", verb, name, method.target, *(said[part] for part in NAMES))]
    for variant, changes in said.get("VARIANTS", {}).items():
        small, bad, pieces = (changes[part] for part in NAMES)
        key = f"{verb} {name} {variant}"
        rows.append(Row(key, verb, name, method.target, {**said["SMALL"], **small}, bad, pieces))
    return {row.key: row for row in rows}


def matrix() -> dict[str, Row]:
    """The rows of every method of the literature."""
    entries = [(v, name, m) for v, verb in VERBS.items() if v not in WITHOUT for name, m in verb.methods.items()]
    return {key: row for entry in entries for key, row in rows_of(*entry).items()}


def with_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with paths in place of the texts by which literals name further models."""
    return {name: tuple(map(Path, value)) if name == MODELS else value for name, value in settings.items()}


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the words of a command line."""
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words += [f"--{'' if value else 'no-'}{name.replace('_', '-')}"]
            continue
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words
