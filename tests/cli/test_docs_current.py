"""The pages of the methods say what the methods say, and the contracts' page names files that exist."""

import importlib.util
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_those_that_the_docstrings_give():
    written = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "methods").glob("*.md")}
    meant = generator().pages()
    stale = sorted(name for name in written.keys() | meant.keys() if written.get(name) != meant.get(name))
    assert stale == [], "run `make docs`"


def test_a_page_has_a_row_for_every_kind_of_setting():
    words = generator().words
    assert words(tuple[float, float]) == "number, number"
    assert words(tuple[str, ...]) == "any number of text"
    assert words(int | None) == "integer or `None`"


def test_the_architecture_names_files_that_exist():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ((?:`[\w/]+\.py`(?:, )?)+) \|", text, re.MULTILINE)
    named = [name for cell in table for name in re.findall(r"`([\w/]+\.py)`", cell)]
    assert len(named) > 15
    package = DOCS.parent / "src" / "intaglio"
    assert [name for name in named if not list(package.rglob(name))] == []
