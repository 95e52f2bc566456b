"""A run folder, read: `run.json`, metrics, records and pictures. The folder is the truth; nothing here writes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from intaglio.errors import BadInput

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
    """Read a run folder. Raises `BadInput` where it is none, or where `run.json` is damaged."""
    if not (folder / "run.json").is_file():
        raise BadInput(
            f"{folder} is not a run folder: it has no run.json; `intaglio runs list` shows the runs there are."
        )
    run = read_json(folder / "run.json")
    if not isinstance(run, dict):
        raise BadInput(f"{folder / 'run.json'} does not describe a run; run the command again to write it anew.")
    images = folder / "images"
    return RunData(
        folder=folder,
        run=run,
        metrics={file.stem: _rows(file) for file in sorted((folder / "metrics").glob("*.jsonl"))},
        records=_records(folder / "records"),
        pictures={f.relative_to(images).with_suffix("").as_posix(): f for f in sorted(images.rglob("*.png"))},
    )


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); run the command again to write it anew.") from error


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics stream; a last line that a kill cut short is left out."""
    rows = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _records(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """records/<kind>/<file>.json, each {"key": ..., "value": ...}."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for file in sorted(folder.glob("*/*.json")):
        content = read_json(file)
        if isinstance(content, dict):
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
    if not path.is_file():
        return None
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); run the command again to write it anew.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} lacks {error}; run the {verb} again with this version.") from error
