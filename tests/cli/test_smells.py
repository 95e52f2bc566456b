"""Cheap checks of the source for faults that other code bases had to live with."""

import ast
import functools
import inspect
import re
import zlib
from collections import defaultdict
from pathlib import Path

import pytest

import intaglio
from intaglio.commands.kit.source_settings import Module
from intaglio.verbs import VERBS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "intaglio").rglob("*.py"))
RECIPES = [*sorted((ROOT / "recipes").rglob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
DOCS = [*sorted((ROOT / "docs").rglob("*.*")), *ROOT.glob("*.*"), ROOT / "Makefile", ROOT / ".ci/run"]
TEXTS = [path for path in [*SOURCES, *RECIPES, *DOCS] if path.is_file()]
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def every_node(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree(path)))


@functools.cache
def calls(path: Path) -> list[tuple[ast.Call, str]]:
    return [(node, ast.unparse(node.func)) for node in every_node(path) if isinstance(node, ast.Call)]


@pytest.fixture(scope="module", autouse=True)
def _forgotten():
    """The trees of the whole house, which the collector would pass over again and again in the tests of other files."""
    yield
    for kept in (tree, every_node, calls, attributes_read):
        kept.cache_clear()


def at(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def nodes(paths, kind):
    return [(path, node) for path in paths for node in every_node(path) if isinstance(node, kind)]


def test_bad_input_is_never_left_to_assert():
    assert [at(path, node) for path, node in nodes(SOURCES, ast.Assert)] == []


@pytest.mark.parametrize(
    ("paths", "name", "why"),
    [
        (SOURCES, r"print", "commands speak through console.say"),
        (SOURCES + RECIPES, r"exec|eval|pickle\..*|torch\.load|joblib\.load|marshal\..*", "no code from a file"),
        (SOURCES, r"time\.time|datetime\.now\(\) -.*", "durations use a monotonic clock"),
        (SOURCES, r"os\.getenv|os\.environ\.get", "settings never come from the environment"),
        (SOURCES, r"torch\.manual_seed|(np|numpy)\.random\.seed|random\.seed", "randomness is an argument"),
        (SOURCES, r"torch\.compile", "it miscompiles on some processors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_some_calls_are_never_made(paths, name, why):
    found = [at(path, node) for path in paths for node, called in calls(path) if re.fullmatch(name, called)]
    assert found == [], why


def test_no_file_no_function_and_no_dataclass_outgrows_one_idea():
    long_files = [at(path, tree(path)) for path in SOURCES if len(path.read_text().splitlines()) > 400]
    long_functions = [at(p, n) for p, n in nodes(SOURCES, FUNCTION) if (n.end_lineno or 0) - n.lineno >= 80]
    wide = [
        at(path, node)
        for path, node in nodes(SOURCES, ast.ClassDef)
        if any("dataclass" in ast.unparse(d) for d in node.decorator_list)
        and sum(isinstance(s, ast.AnnAssign) and "ClassVar" not in ast.unparse(s.annotation) for s in node.body) > 20
    ]
    assert (long_files, long_functions, wide) == ([], [], [])


def test_every_module_every_class_and_every_public_name_says_what_it_is():
    bare = [at(path, tree(path)) for path in SOURCES if not ast.get_docstring(tree(path)) and tree(path).body]
    bare += [at(p, n) for p, n in nodes(SOURCES, ast.ClassDef) if n.name[0] != "_" and not ast.get_docstring(n)]
    for name in set(intaglio.__all__) - {"__version__"}:
        public = getattr(intaglio, name)
        own = [(key, part) for key, part in vars(public).items() if inspect.isfunction(part) and key[0] != "_"]
        bare += [f"{name}.{key}" for key, part in [("", public), *own] if not inspect.getdoc(part)]
    assert bare == []


def test_first_words_name_the_thing_and_set_no_riddle():
    """A module, a class or a function is introduced by its name in the field, not by a question in disguise."""
    riddle = re.compile(r"(What|How|Which|Where|Who|When|Why)\b(?! to )")
    named = nodes(SOURCES, FUNCTION | ast.ClassDef | ast.Module)
    found = [at(path, node) for path, node in named if riddle.match(ast.get_docstring(node) or "")]
    assert found == []


def test_no_paragraph_stands_in_two_docstrings():
    seen = defaultdict(list)
    for path, node in nodes(SOURCES, FUNCTION | ast.ClassDef | ast.Module):
        for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
            if len(words := " ".join(paragraph.split())) > 120:
                seen[words].append(at(path, node))
    assert {text: places for text, places in seen.items() if len(places) > 1} == {}


def test_nothing_names_a_path_of_one_machine_or_a_package_index():
    machine = re.compile(r"""(?<![\w.>}"'])/(home|root|tmp|work|Users|mnt)/\w|(index|extra-index)[-]url|find[-]links""")
    found = {str(p.relative_to(ROOT)): machine.findall(p.read_text(errors="ignore")) for p in TEXTS}
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_no_two_files_of_tests_have_one_name():
    names = defaultdict(list)
    for path in TESTS:
        if path.parent.name != "methods":  # a method's own test mirrors the name of its file
            names[path.name].append(path.parent.name)
    assert not {name: rooms for name, rooms in names.items() if len(rooms) > 1}


ANATOMY = {
    "__init__": "a package; it holds no code",
    "audit": "the whole examination by a verb: its methods, the null, the statistics",
    "bench": "methods of a verb compared on one table; the command that runs it",
    "channels": "single channels of a layer as concepts, a baseline",
    "cost": "the estimated cost of a run, before it",
    "data": "training data of a room",
    "family": "the contract that a room's methods fulfil",
    "figures": "the figures of a bench",
    "finetune": "the verb finetune: its command, its bench",
    "inputs": "the inputs of a verb, or what commands share of them",
    "lora": "low-rank adapters: their weights, the method that trains them",
    "merge": "the command word merge",
    "method": "the method itself, where it takes several files",
    "loop": "the loop that calls a room's steps: of sampling, of training",
    "result": "the stored result of a verb",
    "results": "the results that a room's methods return",
    "sample": "the command word sample",
    "settings": "the settings that a room's methods share",
    "train": "the command word train",
    "training": "the training of a room's networks",
}
"""File names that occur in several rooms, with the one thing that each stands for."""


def test_a_file_name_means_one_thing_in_the_whole_house():
    """But a trainer of a part has the name of the sampling method that draws with it."""
    rooms = defaultdict(list)
    drawn_with = {path.stem for path in SOURCES if path.parent.parts[-2:] == ("sampling", "methods")}
    for path in SOURCES:
        if path.parent.parts[-2:] == ("trained", "methods") and path.stem in drawn_with:
            continue
        rooms[path.stem].append(str(path.relative_to(ROOT)))
    shared = {stem for stem, paths in rooms.items() if len(paths) > 1}
    assert {stem: rooms[stem] for stem in shared - set(ANATOMY)} == {}


def test_no_two_public_classes_have_one_name():
    rooms = defaultdict(list)
    for path in SOURCES:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_":
                rooms[node.name].append(at(path, node))
    assert {name: places for name, places in rooms.items() if len(places) > 1} == {}


def test_the_package_stays_within_60_megabytes():
    """What is downloaded, each file deflated as in a wheel; test_container builds the wheel itself."""
    files = [p for p in (ROOT / "src/intaglio").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(len(zlib.compress(p.read_bytes())) for p in files) <= 60e6


def test_every_test_can_fail():
    proofs = re.compile(r"\bassert\b|pytest\.raises|pytest\.warns|\bassert_\w+|\bcheck\w*\(|\bexpect\w*\(")
    idle = [
        at(path, node)
        for path, node in nodes(TESTS, FUNCTION)
        if node.name.startswith("test_") and not proofs.search(ast.unparse(node))
    ]
    assert idle == []


@functools.cache
def attributes_read(room: str) -> set[str]:
    """Names of the attributes that functions of a room, or of the shared training loop, read after their checks."""
    package = ROOT / "src/intaglio"
    return {
        node.attr
        for path in [*(package / room).rglob("*.py"), *(package / "learning").glob("*.py")]
        for function in every_node(path)
        if isinstance(function, FUNCTION) and function.name != "__post_init__"
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("method", [m for v in VERBS.values() for m in v.methods.values()], ids=lambda m: m.target)
def test_every_setting_is_read_by_more_than_its_check(method):
    module, _, name = method.target.partition(":")
    assert set(Module.read(module)[name].fields) <= attributes_read(module.split(".")[1])
