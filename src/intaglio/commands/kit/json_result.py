"""`--json` of every command that keeps its work in a run: the run and its figures as one line of JSON."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from intaglio.commands.kit.console import say_json
from intaglio.errors import BadInput

FIELDS = ("verb", "method", "status", "seconds", "planned_seconds", "warnings", "results", "summary")
"""Fields of `run.json` that are told, beside the run's name and folder."""


@contextmanager
def reporting_run(path: Sequence[str]) -> Iterator[None]:
    """Writes the run that was opened first within the block as a line of JSON; what else is said is comment.

    Raises `BadInput` where the command opened none, such as `report`.
    """
    from intaglio.runs.header import checked_header
    from intaglio.runs.run import listing_opened

    with listing_opened() as folders:
        yield
    if not folders:
        raise BadInput(f"intaglio {' '.join(path)} kept no run whose figures could be written; leave --json out")
    header = checked_header(folders[0])
    say_json({"run": header["name"], "folder": str(folders[0]), **{name: header.get(name) for name in FIELDS}})
