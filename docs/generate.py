"""Write a page for every method, the list of them, and the types of the public names, from the sources.

usage: python docs/generate.py
"""

import dataclasses
import inspect
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import intaglio
from intaglio.commands.kit.source_settings import default_of, settings_of
from intaglio.verbs import VERBS, Method

FOLDER = Path(__file__).parent / "methods"
STUB = Path(intaglio.__file__).with_suffix(".pyi")
NOTE = "<!-- Written by `make docs` from the method's docstring and settings; change those, not this page. -->"


def pages() -> dict[str, str]:
    """The text of every page by its file name."""
    found = {"README.md": contents()}
    for verb, entry in VERBS.items():
        for name, method in entry.methods.items():
            found[file_of(verb, name)] = page(verb, name, method)
    return found


def stub() -> str:
    """`__init__.pyi`: the public names as editors and type checkers see them, who cannot look into folders."""
    lines = [f"from {module} import {name} as {name}" for name, module in sorted(intaglio.homes().items())]
    return "\n".join(
        [
            "# Written by `make docs`: the public names, for editors and type checkers.",
            "",
            *lines,
            "",
            "__version__: str",
            "",
            "def homes() -> dict[str, str]: ...",
            "",
        ]
    )


def file_of(verb: str, name: str) -> str:
    """The page's file name."""
    return f"{verb} {name}.md".replace(" ", "-")


def contents() -> str:
    """The list of all methods, by verb."""
    lines = [NOTE, "", "# Methods", ""]
    for verb, entry in VERBS.items():
        if entry.methods:
            lines += [f"**`intaglio {verb}`**: {entry.summary}.", ""]
            lines += [
                f"- [`{name}`]({file_of(verb, name)}): {method.summary}" for name, method in entry.methods.items()
            ]
            lines += [""]
    return "\n".join(lines)


def page(verb: str, name: str, method: Method) -> str:
    """One method: what it does, how it is called, and every setting with its default."""
    kind = settings_of(method.target)
    module, _, cls = method.target.partition(":")
    home = "intaglio" if cls in intaglio.homes() else module
    rows = [setting_row(field) for field in dataclasses.fields(kind)]
    parts = [
        NOTE,
        f"# intaglio {verb} {name}",
        inspect.getdoc(kind) or "",
        "## Settings",
        "\n".join(["| flag | value | default | |", "|---|---|---|---|", *rows]),
        "## From Python",
        f"```python\nfrom {home} import {cls}\n```",
        f"The inputs of the command are listed by `intaglio {verb} {name} --help`.",
    ]
    return "\n\n".join(parts) + "\n"


def setting_row(field: dataclasses.Field) -> str:
    """A setting as a row of the table."""
    annotated = hasattr(field.type, "__metadata__")
    text = field.type.__metadata__[0].help if annotated else ""
    kind = words(field.type.__origin__ if annotated else field.type)
    default = default_of(field)
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    cells = (f"`--{field.name.replace('_', '-')}`", kind, f"`{shown}`" if shown != "" else "", text)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def words(annotation: Any) -> str:
    """A type in words."""
    if annotation is None or annotation is type(None):
        return "`None`"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        items = [item for item in get_args(annotation) if item is not Ellipsis]
        return f"{'any number of ' if Ellipsis in get_args(annotation) else ''}{', '.join(words(i) for i in items)}"
    if get_args(annotation):
        return " or ".join(words(part) for part in get_args(annotation))
    return {int: "integer", float: "number", str: "text", bool: "yes or no", Path: "path"}[annotation]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    STUB.write_text(stub(), encoding="utf-8")
