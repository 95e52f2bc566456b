"""The pages of the methods, and the stub of the package, are what the sources give."""

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


def test_editors_know_the_public_names():
    made = generator()
    assert made.STUB.read_text(encoding="utf-8") == made.stub(), "run `make docs`"


def test_a_page_has_a_row_for_every_kind_of_setting():
    words = generator().words
    assert words(tuple[float, float]) == "number, number"
    assert words(tuple[str, ...]) == "any number of text"
    assert words(int | None) == "integer or `None`"


def test_the_tree_of_the_architecture_names_every_folder_of_the_package():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    tree = text.split("```")[1]
    named = set(re.findall(r"([a-z_]+)/", tree)) - {"src", "intaglio"}
    package = DOCS.parent / "src" / "intaglio"
    folders = {path.parent.name for path in package.rglob("__init__.py")} - {"intaglio"}
    assert named == folders


def test_every_file_that_the_docs_name_is_there():
    root = DOCS.parent
    pages = [*DOCS.glob("*.md"), root / "README.md", root / "CONTRIBUTING.md", *(root / "recipes").rglob("*.md")]
    named = re.compile(r"(?<![\w/])(?:\.\./)?((?:tests|src|recipes)/[\w/.-]+\.\w+)")
    missing = {
        f"{page.name}: {name}"
        for page in pages
        for name in named.findall(page.read_text(encoding="utf-8"))
        if "<" not in name and "my_audit" not in name and not (root / name).exists()
    }
    assert not missing
