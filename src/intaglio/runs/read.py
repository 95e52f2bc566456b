"""A run folder, read: `run.json`, metrics, records and pictures. The folder is the truth; nothing here writes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from intaglio.data_files import Fields, read_json
from intaglio.errors import BadInput
from intaglio.runs import rows
from intaglio.runs.header import checked_header

ANEW = "run the command again to write it anew"
"""The remedy for a damaged file of a run."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class RunData:
    """A run folder, read."""

    folder: Path
    run: dict[str, Any]
    """`run.json`"""
    metrics: dict[str, list[dict[str, Any]]]
    """Rows by stream."""
    records: dict[str, dict[str, dict[str, Any]]]
    """Recorded results by kind and key."""
    pictures: dict[str, Path]
    """Every PNG under `images/`, by its name without suffix, sorted."""

    @property
    def warnings(self) -> list[str]:
        return [str(message) for message in self.run.get("warnings") or ()]

    @property
    def summary(self) -> dict[str, Any]:
        return dict(self.run.get("summary") or {})


def read_run(folder: Path) -> RunData:
    """Read a run folder. Raises `BadInput` where it is none, or where a file in it is damaged."""
    if not (folder / "run.json").exists():
        raise BadInput(
            f"{folder} is not a run folder: it has no run.json; `intaglio runs list` shows the runs there are."
        )
    run = checked_header(folder)
    images = folder / "images"
    return RunData(
        folder=folder,
        run=run,
        metrics={file.stem: rows.read(file) for file in sorted((folder / "metrics").glob("*.jsonl"))},
        records=_records(folder / "records"),
        pictures={f.relative_to(images).with_suffix("").as_posix(): f for f in sorted(images.rglob("*.png"))},
    )


def read_table(path: Path) -> dict[str, Any]:
    """The table in a JSON file of a run. Raises `BadInput` where it cannot be read, or holds something else."""
    return dict(Fields.of(read_json(path, ANEW, constants=True), str(path), ANEW).values)


def _records(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """records/<kind>/<file>.json, each {"key": ..., "value": ...}."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for file in sorted(folder.glob("*/*.json")):
        content = read_table(file)
        key = str(content.get("key", file.stem))
        value = content.get("value", content)
        found.setdefault(file.parent.name, {})[key] = value if isinstance(value, dict) else {"value": value}
    return {kind: dict(sorted(values.items())) for kind, values in found.items()}


def load_result(path: Path, parse: Callable[[Any], Result], verb: str) -> Result | None:
    """The result stored as JSON at `path`; None where there is no such file (another verb, or not finished).

    Args:
        path: of the file.
        parse: makes the result of the file's content.
        verb: names the work that writes the file anew, in an error's sentence.

    Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
    """
    if not path.exists():
        return None
    remedy = f"delete it, and the same command does the {verb} again"
    content = read_json(path, remedy)
    try:
        return parse(content)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"has a value of another kind ({error})"
        raise BadInput(f"{path} {reason}; run the {verb} again with this version, or {remedy}") from error
