"""Runs in the local stores of MLflow and TensorBoard, read back through their own libraries."""

import json
import sys

import numpy as np
import pytest

from intaglio.cli import main
from intaglio.report.export.exported_run import ExportedRun
from run_folders import run_json, save

LOSSES = [0.5, 0.25, 0.125]


def make_run(root, name="finetune-lora-0123456789", **more):
    folder = root / name
    settings = {"steps": 3, "rate": 1e-4, "nested": {"on": True}, "prompt": "a <cat>", "clip": None}
    summary = {"loss": 0.125, "kept": {"step": 3}, "finding": "it learned"}
    run_json(folder, "finetune", "lora", settings=settings, summary=summary, **more)
    (folder / "metrics").mkdir()
    rows = [{"step": 10 * k, "loss": loss, "note": "x"} for k, loss in enumerate(LOSSES, 1)]
    rows.append({"step": 40, "loss": float("nan")})
    (folder / "metrics" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save(folder, "samples/00", np.full((8, 8, 3), 200, np.uint8))
    return folder


def export(runs, *words):
    return main(["runs", "export", *words, "--runs", str(runs)])


def test_a_run_is_read_as_numbers_texts_and_steps(tmp_path):
    folder = make_run(tmp_path)
    (folder / "images" / "damaged.png").write_bytes(b"no picture")
    (tmp_path / "private.png").write_bytes((folder / "images" / "samples" / "00.png").read_bytes())
    (folder / "images" / "out.png").symlink_to(tmp_path / "private.png")
    run = ExportedRun.read(folder)
    assert [name for name, _, _ in run.pictures()] == ["samples/00"]
    assert [(one.name, one.step, one.value) for one in run.metrics] == [
        ("train/loss", 10, 0.5),
        ("train/loss", 20, 0.25),
        ("train/loss", 30, 0.125),
    ]
    assert run.params == {"steps": 3, "rate": 1e-4, "nested.on": True, "prompt": "a <cat>", "clip": "None", "seed": 3}
    assert run.summary == {"loss": 0.125, "kept.step": 3.0}
    assert run.tags["summary.finding"] == "it learned"
    assert run.tags["warning.1"].startswith("apple.png was smaller")
    assert run.moment("finished") - run.moment("started") == 120_000


def test_mlflow_reads_back_what_was_exported_once_however_often(tmp_path, capsys):
    tracking = pytest.importorskip("mlflow.tracking")
    pytest.importorskip("sqlalchemy")
    make_run(tmp_path / "runs")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    store = tmp_path / "store"
    for words in (("finetune-lora",), ("--all",)):
        assert export(tmp_path / "runs", *words, "--to", "mlflow", str(store)) == 0
    assert "broken is left out" in capsys.readouterr().err
    client = tracking.MlflowClient(f"sqlite:///{store}/mlflow.db", f"sqlite:///{store}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("intaglio").experiment_id])
    assert (run.info.run_name, run.info.status) == ("finetune-lora-0123456789", "FINISHED")
    assert run.info.end_time - run.info.start_time == 120_000
    assert run.data.params["nested.on"] == "True"
    assert run.data.params["rate"] == "0.0001"
    assert run.data.metrics["summary/kept.step"] == 3.0
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in history] == [(10, 0.5), (20, 0.25), (30, 0.125)]
    assert run.data.tags["warning.1"].startswith("apple.png was smaller")
    held = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert held == {"images", "report.html"}
    assert [one.path for one in client.list_artifacts(run.info.run_id, "images/samples")] == ["images/samples/00.png"]


def test_tensorboard_reads_back_what_was_exported_once_however_often(tmp_path, capsys):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    make_run(tmp_path / "runs")
    for _ in range(2):
        assert export(tmp_path / "runs", "0123", "--to", "tensorboard", str(tmp_path / "store")) == 0
    place = tmp_path / "store" / "finetune-lora-0123456789"
    assert str(place) in capsys.readouterr().out
    found = reading.EventAccumulator(str(place), size_guidance={"scalars": 0}).Reload()
    assert [(one.step, one.value) for one in found.Scalars("train/loss")] == [(10, 0.5), (20, 0.25), (30, 0.125)]
    assert found.Scalars("summary/kept.step")[0].value == 3.0
    assert (found.Images("samples/00")[0].width, len(found.Images("samples/00"))) == (8, 1)
    words = found.Tensors("warning.1/text_summary")[0].tensor_proto.string_val[0]
    assert words.startswith(b"apple.png was smaller")
    told = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"nested.on" in told
    assert "<html" in (place / "report.html").read_text()
    assert [path.name for path in (tmp_path / "store").iterdir()] == [place.name], "nothing half-written is left"
    (place / "mine.txt").write_text("kept")
    assert export(tmp_path / "runs", "0123", "--to", "tensorboard", str(tmp_path / "store")) == 2
    assert "no export" in capsys.readouterr().err
    assert (place / "mine.txt").exists()


@pytest.mark.parametrize(("store", "library"), [("mlflow", "mlflow"), ("tensorboard", "tensorboard")])
def test_a_missing_library_is_one_sentence_with_its_remedy(tmp_path, capsys, monkeypatch, store, library):
    make_run(tmp_path / "runs")
    monkeypatch.delitem(sys.modules, f"intaglio.report.export.{store}_store", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    assert export(tmp_path / "runs", "--all", "--to", store, str(tmp_path / "store")) == 1
    assert f"pip install 'intaglio[{store}]'" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export"], "wants the name of a run"),
        (["export", "0123"], "wants --to mlflow DIR"),
        (["export", "0123", "--all", "--to", "mlflow", "s"], "leave it or --all out"),
        (["list", "--to", "mlflow", "s"], "no other action takes --to"),
        (["show", "a", "b"], "takes one run"),
        (["export", "--all", "--to", "mlflow", "FILE"], "is a file; give the folder of the mlflow store"),
    ],
)
def test_an_export_that_cannot_be_is_refused(tmp_path, capsys, words, says):
    make_run(tmp_path / "runs")
    (tmp_path / "FILE").write_text("")
    words = [str(tmp_path / word) if word == "FILE" else word for word in words]
    assert main(["runs", *words, "--runs", str(tmp_path / "runs")]) == 2
    assert says in capsys.readouterr().err
