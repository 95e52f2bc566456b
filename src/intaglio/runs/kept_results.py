"""The files that make up a run's result: listed when it is finished, looked for when it is opened again."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

ROOMS = ("states", "records", "metrics", "images", "tensors")
"""Folders of a run that are written file by file, and never as a whole."""
OF_OLD_RUNS = {("authenticate", ""): ("verdict.json",), ("extract", ""): ("extraction.json",)}
"""Result files of runs of versions that kept no list, by verb and beginning of the method."""
MODEL = "model"
"""Folder of the model that a fine-tune of all weights writes."""
NAMED_IN_SUMMARY = {
    ("finetune", ""): "weights",
    ("flow", "train"): "model",
    ("flow", "sample"): "pictures_in",
    ("causal", "train"): "model",
    ("discover", ""): "graph_in",
}
"""Entry of the summary that names the result, by verb and beginning of the method."""


def listed_files(folder: Path, results: Iterable[str]) -> list[str]:
    """The files below a run's folder that these paths stand for, a folder standing for all that is in it; sorted."""
    found: set[str] = set()
    for result in results:
        path = folder / result
        files = path.rglob("*") if path.is_dir() else [path]
        found |= {file.relative_to(folder).as_posix() for file in files if file.is_file()}
    return sorted(found)


def lost_result(folder: Path, header: Mapping[str, Any]) -> str | None:
    """The first file of a finished run's result that is no longer there; None where all are."""
    listed, summary = header.get("results"), header.get("summary") or {}
    verb, method = str(header.get("verb")), str(header.get("method"))
    expected = [] if listed == [] else [*(listed or ()), *_known(OF_OLD_RUNS, verb, method, ())]
    if entry := _known(NAMED_IN_SUMMARY, verb, method, ""):
        named = summary.get(entry)
        expected.append(named if isinstance(named, str) and _is_weights(verb, named) else f"the summary's {entry}")
    return next((path for path in expected if not (stays_inside(path) and _exists(folder / path))), None)


def stays_inside(path: str) -> bool:
    """Whether a path of a `run.json` is relative and leads below the run's folder; links in it are the user's own."""
    spelt = (PurePosixPath(path), PureWindowsPath(path))
    return bool(spelt[0].parts) and "\0" not in path and not any(one.anchor or ".." in one.parts for one in spelt)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _is_weights(verb: str, named: str) -> bool:
    """Whether a fine-tune can have written weights of this name: a diffusers folder, or an adapter's file."""
    return verb != "finetune" or named == MODEL or (named.endswith(".safetensors") and "/" not in named)


def clear_rest(folder: Path, lost: str) -> None:
    """Removes what is left of a result's folder of which a file is lost, so that the whole can take its place."""
    first, _, rest = lost.partition("/")
    place = folder / first
    if stays_inside(lost) and rest and first not in (*ROOMS, ".", "..") and place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)


def _known(table: Mapping[tuple[str, str], Any], verb: str, method: str, default: Any) -> Any:
    return next((value for (v, start), value in table.items() if v == verb and method.startswith(start)), default)
