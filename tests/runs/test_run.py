"""A run's folder: its name, what it keeps, how it ends, and who may write into it."""

import errno
import json
import logging
import math
import os
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from intaglio import files
from intaglio.errors import IntaglioError
from intaglio.images.image_set import read_png_text
from intaglio.runs import run as run_module
from intaglio.runs.header import run_name
from intaglio.runs.run import Run

INPUTS = {"model": {"path": "/somewhere/model", "sha256": "ab" * 32}}


def begin(root, **changes):
    options = {"seed": 1, "device": "cpu", "command": ["finetune", "lora"], "progress": "none", **changes}
    asked = options.pop("settings", {"steps": 4})
    return Run.open(root, "finetune", "lora", asked, INPUTS, **options)


def about(run):
    return json.loads((run.folder / "run.json").read_text())


def name(settings=None, inputs=INPUTS, seed=1):
    return run_name("finetune", "lora", {"a": 1, "b": (1, 2)} if settings is None else settings, inputs, seed)


def test_name_comes_from_what_decides_the_result():
    assert name().startswith("finetune-lora-")
    assert len(name().rpartition("-")[2]) == 10
    assert name({"b": [1, 2], "a": 1}) == name(), "neither order nor the kind of sequence counts"
    assert name(inputs={"model": {"path": "elsewhere", "sha256": "ab" * 32}}) == name(), "a moved input is the same"
    others = [
        name({"a": 2, "b": (1, 2)}),
        name(inputs={"model": {"path": "/somewhere/model", "sha256": "cd" * 32}}),
        name(inputs={"base": {"path": "/somewhere/model", "sha256": "ab" * 32}}),
        name(inputs={"model": {"path": "x"}}),
        name(seed=2),
        name(seed=None),
    ]
    assert len({name(), *others}) == 7


def test_header_says_what_was_asked(tmp_path):
    with begin(tmp_path / "new", settings={"steps": 4, "out": Path("x"), "betas": (0.9, 0.99)}) as run:
        seen = about(run)
        assert run.status == "new"
        assert seen["settings"] == {"steps": 4, "out": "x", "betas": [0.9, 0.99]}
        assert seen["inputs"] == INPUTS
        assert (seen["verb"], seen["method"], seen["seed"], seen["device"]) == ("finetune", "lora", 1, "cpu")
        assert (seen["status"], seen["name"], seen["format"]) == ("unfinished", run.folder.name, 1)
        assert {"python", "intaglio", "torch", "diffusers", "transformers", "numpy"} <= seen["versions"].keys()
        assert seen["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
        assert {"platform", "cpu", "cores"} <= seen["machine"].keys()
        assert seen["command"] == ["finetune", "lora"]
        assert seen["cwd"] == str(Path.cwd())
        assert isinstance(seen["joules"], float) == bool(seen["joules_by"])
        assert seen["joules_by"] or seen["joules_why"].startswith("not measured: ")
        assert seen["cpu_seconds"] >= 0


def test_finished_work_is_found(tmp_path):
    run = begin(tmp_path)
    run.finish({"loss": 0.5, "scores": torch.tensor([1.0, 2.0])})
    assert run.status == "done"
    again = begin(tmp_path)
    assert again.status == "done"
    assert again.summary == {"loss": 0.5, "scores": [1.0, 2.0]}
    begin(tmp_path)  # a finished run is locked by nobody
    before = about(run)
    again.warn("shown, not stored")
    with again:
        pass
    assert about(run) == before
    assert before["finished"] >= before["started"]


def test_failure_and_interruption_are_told_apart(tmp_path):
    for error, status, sentence in (
        (KeyboardInterrupt(), "unfinished", "interrupted"),
        (IntaglioError("the model is gone; find it"), "failed", "the model is gone; find it"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
    ):
        with pytest.raises(type(error)), begin(tmp_path) as run:
            raise error
        assert (about(run)["status"], about(run)["error"]) == (status, sentence)
    with begin(tmp_path) as run:
        assert run.status == "unfinished"
        assert (about(run)["status"], about(run)["error"], about(run)["resumed"]) == ("unfinished", None, 3)


def test_seconds_add_up(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(run_module.time, "monotonic", lambda: clock[0])
    with begin(tmp_path) as run:
        clock[0] += 10
        run.record("score", "a", {"x": 1})
        assert about(run)["seconds"] == 10
        clock[0] += 1
        run.record("score", "b", {"x": 1})
        assert about(run)["seconds"] == 10, "the header is not written for every record"
    assert about(run)["seconds"] == 11
    clock[0] += 1000
    with begin(tmp_path) as run:
        clock[0] += 5
        run.finish({})
        clock[0] += 50
    assert about(run)["seconds"] == run.seconds == 16


def test_states_come_back_bit_by_bit(tmp_path):
    weight = torch.randn(4, 3)
    tensors = {
        "weight": weight,
        "tied": weight,
        "view": weight[1:, :2],
        "turned": weight.T,
        "random": torch.Generator().manual_seed(3).get_state(),
        "half": weight.to(torch.bfloat16),
        "step": torch.tensor(7),
        "none": torch.zeros(0, 2),
    }
    with begin(tmp_path) as run:
        assert run.load_state("training") is None
        run.save_state("training", tensors, {"step": 7, "order": (2, 1), "nan": math.nan})
    with begin(tmp_path) as run:
        loaded, meta = run.load_state("training")
        assert loaded.keys() == tensors.keys()
        for key, value in tensors.items():
            assert torch.equal(loaded[key], value)
            assert loaded[key].dtype == value.dtype
        assert (meta["step"], meta["order"]) == (7, [2, 1])
        assert math.isnan(meta["nan"])
        run.drop_state("training")
        run.drop_state("training")
        assert run.load_state("training") is None


def test_states_are_throttled_by_the_monotonic_clock(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(run_module.time, "monotonic", lambda: clock[0])
    with begin(tmp_path) as run:
        kept = []
        for step in range(10):
            run.save_state("a", {}, {"step": step}, every_s=3)
            kept.append(run.load_state("a")[1]["step"])
            clock[0] += 1
        assert kept == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
        run.save_state("b", {}, {"step": 0}, every_s=3)
        assert run.load_state("b") is not None, "each name has its own clock"
        run.save_state("a", {}, {"step": 10})
        assert run.load_state("a")[1]["step"] == 10


def test_damaged_state_is_named(tmp_path):
    with begin(tmp_path) as run:
        run.save_state("a", {"x": torch.ones(9)}, {})
        path = run.folder / "states" / "a.safetensors"
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(IntaglioError, match=r"a\.safetensors is damaged; delete it"):
            run.load_state("a")


names = st.text(max_size=200).filter(lambda text: text.isprintable())


@given(rows=st.dictionaries(names, st.dictionaries(names, st.floats() | st.integers() | st.none() | names), max_size=5))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_records_come_back_whatever_their_keys(tmp_path_factory, rows):
    with begin(tmp_path_factory.mktemp("r")) as run:
        for key, value in rows.items():
            run.record("score", key, {"old": 1})
            run.record("score", key, value)
        assert repr(run.recorded("score")) == repr(dict(sorted(rows.items())))
        assert run.recorded("other") == {}


def test_keys_that_differ_only_in_capitals_have_two_files(tmp_path):
    with begin(tmp_path) as run:
        for key in ("a.png", "A.png", "../a", "con", ""):
            run.record("score", key, {"key": key})
        found = sorted(path.name.lower() for path in (run.folder / "records" / "score").iterdir())
        assert len(set(found)) == 5
        assert run.recorded("score") == {key: {"key": key} for key in ("", "../a", "A.png", "a.png", "con")}


def test_damaged_record_is_done_again(tmp_path):
    with begin(tmp_path) as run:
        run.record("score", "a", {"x": 1})
        run.record("score", "b", {"x": 2})
        (path,) = (run.folder / "records" / "score").glob("a-*.json")
        path.write_bytes(b"")
        assert run.recorded("score") == {"b": {"x": 2}}
        assert "is damaged" in run.warnings[0]


@dataclass(frozen=True)
class Result:
    value: float
    shape: tuple[int, ...]


def test_results_of_every_kind_become_plain(tmp_path):
    with begin(tmp_path) as run:
        value = {"result": Result(0.5, (1, 2)), "array": np.arange(2), "scalar": np.float32(0.5), "type": torch.float16}
        run.record("score", "a", value | {"device": torch.device("cpu"), "set": {2, 1}, "yes": np.bool_(True)})
        assert run.recorded("score")["a"] == {
            "result": {"value": 0.5, "shape": [1, 2]},
            "array": [0, 1],
            "scalar": 0.5,
            "type": "torch.float16",
            "device": "cpu",
            "set": [1, 2],
            "yes": True,
        }
        with pytest.raises(TypeError, match="object"):
            run.record("score", "b", {"x": object()})


@given(cut=st.integers(0, 60), step=st.integers(-1, 4))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_log_survives_a_torn_line(tmp_path_factory, cut, step):
    with begin(tmp_path_factory.mktemp("r")) as run:
        for i in range(3):
            run.log("train", i, loss=float(i))
        path = run.folder / "metrics" / "train.jsonl"
        whole = path.read_bytes()
        kept = whole[: max(0, len(whole) - cut)]
        path.write_bytes(kept)
        left = [{"step": i, "loss": float(i)} for i in range(kept.count(b"\n"))]
        assert run.logged("train") == left
        run.rewind("train", step)
        left = [row for row in left if row["step"] <= step]
        run.log("train", 9, loss=math.inf)
        assert run.logged("train") == [*left, {"step": 9, "loss": math.inf}]


def test_log_mends_a_torn_line_without_a_rewind(tmp_path):
    with begin(tmp_path) as run:
        run.log("train", 0, loss=1.0)
        path = run.folder / "metrics" / "train.jsonl"
        path.write_bytes(path.read_bytes() + b'{"step": 1, "lo')
        run.log("train", 1, loss=2.0)
        assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [1.0, 2.0]


def test_pictures(tmp_path):
    with begin(tmp_path) as run:
        pixels = torch.rand(3, 5, 7)
        assert run.save_image("class/0000", pixels, {"seed": 3}) == "images/class/0000.png"
        path = run.folder / "images" / "class" / "0000.png"
        assert read_png_text(path) == {"seed": "3"}
        with Image.open(path) as image:
            assert image.size == (7, 5)
        relative = run.save_image("../é a", pixels)
        assert ".." not in relative
        assert (run.folder / relative).is_file()
        assert run.save_tensors("recovered", {"x": pixels}, {"seed": 3}) == "tensors/recovered.safetensors"
        assert (run.folder / "tensors" / "recovered.safetensors").is_file()


safe_names = st.lists(st.text(string.printable, max_size=130), min_size=1, max_size=3).map("/".join)


@given(safe_names)
def test_no_name_leads_out_of_the_folder(picture):
    relative = Run.none().save_image(picture, torch.zeros(3, 1, 1))
    assert os.path.normpath(relative) == relative.replace("/", os.sep)
    parts = Path(relative).parts
    assert parts[0] == "images"
    assert ".." not in parts
    assert all(len(part) < 140 for part in parts)


def test_second_process_is_told_which_folder(tmp_path):
    run = begin(tmp_path)
    with pytest.raises(IntaglioError, match="another process is working on") as caught:
        begin(tmp_path)
    assert str(run.folder) in str(caught.value)
    begin(tmp_path, seed=2).close()
    run.close()
    begin(tmp_path).close()
    run = begin(tmp_path)
    del run  # a run that nobody holds any more locks nothing
    begin(tmp_path).close()


def test_full_disk_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch):
    with begin(tmp_path) as run:
        run.record("score", "a", {"x": 1})
        run.save_state("s", {"x": torch.ones(2)}, {"step": 1})
        run.log("train", 1, loss=1.0)

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    def work():
        with begin(tmp_path) as run:
            monkeypatch.setattr(files, "_sync", full)
            run.record("score", "b", {"x": 2})

    with pytest.raises(IntaglioError, match="disk is full") as caught:
        work()
    assert "finetune-lora-" in str(caught.value)
    monkeypatch.undo()
    with begin(tmp_path) as run:
        assert run.status == "unfinished"
        assert run.recorded("score") == {"a": {"x": 1}}
        assert run.load_state("s")[1] == {"step": 1}
        assert run.logged("train") == [{"step": 1, "loss": 1.0}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_device_that_is_full(tmp_path):
    with begin(tmp_path) as run:
        (run.folder / "metrics").mkdir()
        (run.folder / "metrics" / "train.jsonl").symlink_to("/dev/full")
        with pytest.raises(IntaglioError, match="disk is full"):
            run.log("train", 1, loss=1.0)


def test_warnings_are_kept_once(tmp_path, capfd):
    with begin(tmp_path, progress="json") as run:
        run.warn("a is blurred")
        run.warn("b is blurred")
        run.warn("a is blurred")
    assert about(run)["warnings"] == ["a is blurred", "b is blurred"]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["a is blurred", "b is blurred"]
    with begin(tmp_path) as run:
        run.warn("a is blurred")
        assert run.warnings == ("a is blurred", "b is blurred")
    assert capfd.readouterr().err == ""


def test_other_versions_are_said_on_resume(tmp_path):
    with begin(tmp_path) as run:
        header = about(run)
    header["versions"]["torch"] = "1.0"
    (run.folder / "run.json").write_text(json.dumps(header))
    with begin(tmp_path, device="cuda") as run:
        (line,) = run.warnings
        assert "torch 1.0 then" in line
        assert "device cpu then, cuda now" in line


def test_lost_header_keeps_the_work(tmp_path):
    with begin(tmp_path) as run:
        run.record("score", "a", {"x": 1})
        (run.folder / "records" / "score" / f"{files.TEMPORARY}dead").write_text("half")
        path = run.folder / "run.json"
    path.write_text("{")
    with begin(tmp_path) as run:
        assert run.status == "unfinished"
        assert "written anew" in run.warnings[0]
        assert run.recorded("score") == {"a": {"x": 1}}
        assert not list(run.folder.rglob(f"{files.TEMPORARY}*"))


def test_null_run_remembers_nothing(caplog):
    run = Run.none()
    assert run.folder is None
    assert (run.status, run.summary) == ("new", {})
    with run, run.progress(2, "work") as progress:
        progress.advance(1, loss=0.5)
        run.save_state("a", {"x": torch.ones(1)}, {})
        run.record("k", "a", {"x": 1})
        run.log("train", 1, loss=1.0)
        run.rewind("train", 0)
        run.drop_state("a")
        assert run.save_image("a", torch.zeros(3, 2, 2)) == "images/a.png"
        assert run.save_tensors("a", {}, {}) == "tensors/a.safetensors"
        with caplog.at_level(logging.WARNING, "intaglio"):
            run.warn("careful")
        run.finish({"x": 1})
    assert caplog.messages == ["careful"]
    assert run.load_state("a") is None
    assert run.recorded("k") == {}
    assert run.logged("train") == []
    assert run.summary == {}
    assert run.status == "new", "one default object serves every call"


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path):
    with begin(tmp_path) as run:
        folder = run.folder
    (folder / ".tmp-ab" / "0").mkdir(parents=True)
    (folder / ".tmp-ab" / "0" / "model.safetensors").write_bytes(b"x")
    (folder / "records").mkdir(exist_ok=True)
    (folder / "records" / ".tmp-cd").write_bytes(b"x")
    with begin(tmp_path):
        assert not list(folder.rglob(".tmp*"))
