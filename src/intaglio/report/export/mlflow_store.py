"""MLflow: a run in the SQLite store of a folder, with pictures and report as its artifacts; no server."""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before it is imported: nothing here calls out

from mlflow.entities import Metric, Param, RunTag  # pyright: ignore[reportMissingImports]
from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

from intaglio.report.export.exported_run import ExportedRun

EXPERIMENT = "intaglio"
DATABASE = "mlflow.db"
OWN_TAG = "intaglio.run"
"""The tag that says which run a run of the store was made of."""
AT_ONCE = {"metrics": 1000, "params": 100, "tags": 100}
"""Most entries of a call, by kind."""
LONGEST = 5000
"""Characters of the longest text: the store takes 6000 of a setting and 8000 of a tag."""
STATUSES = {"done": "FINISHED", "failed": "FAILED"}
Entry = TypeVar("Entry")


def write(run: ExportedRun, folder: Path) -> str:
    """Writes a run into `folder/mlflow.db` and `folder/artifacts`; returns the address of the store and the run's id.

    Runs of the same name that are there are removed once the new one is whole.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library, about what it is made of
        return _written(run, folder)


def _written(run: ExportedRun, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    address = f"sqlite:///{folder / DATABASE}"
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    experiment = _experiment(client, folder)
    before = client.search_runs([experiment], f"tags.`{OWN_TAG}` = '{_name(run.name)}'")
    made = client.create_run(experiment, run.moment("started"), {OWN_TAG: _name(run.name)}, _name(run.name)).info.run_id
    _write_values(client, made, run)
    for name, file, _ in run.pictures():
        client.log_artifact(made, str(file), Path("images", name).parent.as_posix())
    with TemporaryDirectory() as held:
        page = Path(held, "report.html")
        # Artifacts lie as the run's files do, so that the links of its page hold.
        page.write_text(run.report(run.data.folder), encoding="utf-8")
        client.log_artifact(made, str(page))
    status = STATUSES.get(str(run.data.run.get("status")), "KILLED")
    client.set_terminated(made, status, run.moment("finished"))
    for old in before:
        client.delete_run(old.info.run_id)
    return f"{address} (experiment {EXPERIMENT}, run {made})"


def _experiment(client: MlflowClient, folder: Path) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    return client.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())


def _write_values(client: MlflowClient, made: str, run: ExportedRun) -> None:
    """Settings, metrics with their steps, the numbers of the summary, and tags."""
    moment = run.moment("finished") or run.moment("started") or 0
    metrics = [Metric(_name(one.name), one.value, moment, one.step) for one in run.metrics]
    metrics += [Metric(_name(f"summary/{name}"), value, moment, 0) for name, value in run.summary.items()]
    params = [Param(_name(name), str(value)[:LONGEST]) for name, value in run.params.items()]
    tags = [RunTag(_name(name), value[:LONGEST]) for name, value in run.tags.items()]
    for part in _parts(metrics, AT_ONCE["metrics"]):
        client.log_batch(made, metrics=part)
    for part in _parts(params, AT_ONCE["params"]):
        client.log_batch(made, params=part)
    for part in _parts(tags, AT_ONCE["tags"]):
        client.log_batch(made, tags=part)


def _parts(entries: Sequence[Entry], size: int) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _name(text: str) -> str:
    """A name that the store takes: letters, digits and a few signs, at most 250."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)[:250]
