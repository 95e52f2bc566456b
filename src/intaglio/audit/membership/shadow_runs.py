"""Runs of fine-tunes that serve as shadow models of an audit: found in folders and checked, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.runs.header import checked_header
from intaglio.runs.kept_results import lost_result
from intaglio.runs.read import ANEW, read_table
from intaglio.runs.store import list_runs

RUN = "run.json"
RECORD = ("training", "pictures")
"""Kind and key of a fine-tune's record of the pictures that it was tuned on."""
NEEDS_SHADOWS = (
    "compares the suspect with models of the same recipe that were tuned on known pictures; make some by "
    "`intaglio finetune METHOD --half 1`, `--half 2`, ..., and give the folders of their runs by --shadows"
)
NO_USE_FOR_SHADOWS = "compares the suspect with no shadow models; leave --shadows out"


@dataclass(frozen=True)
class ShadowRun:
    """A finished fine-tune: where its weights lie, and what it was tuned on."""

    folder: Path
    weights: Path
    """A diffusers folder or an adapter's file."""
    members: frozenset[str]
    """Content hashes of the pictures, at the resolution of the base."""


def shadow_runs(folders: Sequence[Path]) -> list[ShadowRun]:
    """The fine-tunes of folders, each a run or a folder of runs, whose other runs are passed over; by path, once each.

    Raises `BadInput` for a folder without a finished fine-tune, for a run that is another's, not finished, or has lost
    its weights, and for one whose record of pictures is missing or damaged.
    """
    found: dict[Path, ShadowRun] = {}
    for folder in folders:
        inside = [folder] if (folder / RUN).is_file() else _tunes_in(folder)
        if not inside:
            raise BadInput(f"{folder} holds no run of a fine-tune; give --shadows the folders of such runs")
        for one in inside:
            found.setdefault(one.resolve(), _read(one))
    return [found[path] for path in sorted(found)]


def check_shadow_count(method: str, count: int, fewest: int, usual: int) -> None:
    """Raises `BadInput` for fewer shadow models than a method needs."""
    if count < fewest:
        models = "shadow model is" if count == 1 else "shadow models are"
        raise BadInput(f"{count} {models} too few for {method}, which takes {fewest} or more; {usual} are usual")


def _tunes_in(folder: Path) -> list[Path]:
    """The finished fine-tunes that lie in a folder."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; give --shadows the folders of runs of fine-tunes")
    return [run.folder for run in list_runs(folder) if (run.verb, run.status) == ("finetune", "done")]


def _read(folder: Path) -> ShadowRun:
    header = checked_header(folder)
    if header.get("verb") != "finetune":
        raise BadInput(f"{folder} is a run of {header.get('verb')}, and no fine-tune; leave it out of --shadows")
    if header.get("status") != "done":
        raise BadInput(f"the fine-tune of {folder} is not finished; run its command again, or leave it out")
    if (lost := lost_result(folder, header)) is not None:
        raise BadInput(f"{folder} has lost {lost}; run its command again, or leave it out of --shadows")
    weights = Fields.of(dict(header.get("summary") or {}), f"the summary in {folder / RUN}", ANEW).text("weights")
    return ShadowRun(folder, folder / weights, _members(folder))


def _members(folder: Path) -> frozenset[str]:
    """The content hashes of a fine-tune's record."""
    for path in sorted((folder / "records" / RECORD[0]).glob("*.json")):
        table = read_table(path)
        if table.get("key") == RECORD[1]:
            hashes = Fields.of(table.get("value"), str(path), ANEW).values.get("hashes")
            if isinstance(hashes, list) and hashes and all(isinstance(one, str) for one in hashes):
                return frozenset(hashes)
            raise BadInput(f"{path} lists no hashes of pictures; delete the run, and its command tunes again")
    raise BadInput(
        f"{folder} does not say which pictures it was tuned on, as a version before shadow models made it; delete it, "
        "and its command tunes again"
    )
