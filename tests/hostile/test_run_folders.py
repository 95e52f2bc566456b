"""Run folders of strangers, and one's own after mishaps: damaged files, lost results, links out, foreign commands."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import run_folders
from intaglio.cli import main
from intaglio.errors import BadInput, IntaglioError
from intaglio.report import write_report
from intaglio.runs import rows
from intaglio.runs.fan_out import fan_out
from intaglio.runs.kept_results import clear_rest, lost_result
from intaglio.runs.run import Run, resuming
from intaglio.runs.store import damaged_runs, find_run, list_runs


def opened(root: Path, seed: int = 0, verb: str = "play") -> Run:
    return Run.open(root, verb, "toy", {"steps": 3}, {}, seed=seed, device="cpu", command=[verb], progress="none")


@pytest.fixture
def sound(tmp_path) -> Path:
    with opened(tmp_path / "runs") as run:
        run.finish({})
    return run.folder


def intaglio(capsys, *words: str):
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


# Damaged run.json

DAMAGE = {
    "nan seconds": '{"name": "x", "seconds": NaN}',
    "beyond floats": '{"name": "x", "seconds": 1e999}',
    "400 digits": '{"name": "x", "seconds": ' + "9" * 400 + "}",
    "text for seconds": '{"name": "x", "seconds": "long"}',
    "nested": "[" * 100_000,
    "nested inside": '{"name": "x", "summary": {"a": ' + "[" * 100_000,
    "cut": '{"name": "x", "sta',
    "empty": "",
    "a list": "[1, 2]",
    "no name": '{"status": "done"}',
    "name is no text": '{"name": 5}',
    "settings are no table": '{"name": "x", "settings": [1]}',
    "command is no list": '{"name": "x", "command": "rm"}',
    "command of numbers": '{"name": "x", "command": [1]}',
    "inputs are texts": '{"name": "x", "inputs": {"model": "base"}}',
    "warnings are one text": '{"name": "x", "warnings": "mind"}',
    "resumed a text": '{"name": "x", "resumed": "twice"}',
    "latin": b'{"name": "caf\xe9"}',
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_one_damaged_run_hides_no_other(sound, capsys, damage):
    bad = sound.parent / "bad"
    bad.mkdir()
    (bad / "run.json").write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert [run.folder for run in list_runs(sound.parent)] == [sound]
    (found,) = damaged_runs(sound.parent)
    assert (found.folder, found.status, found.seconds) == (bad, "damaged", 0.0)
    code, out, err = intaglio(capsys, "runs", "list", "--runs", sound.parent)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [[sound.name, "done"], ["bad", "damaged"]]
    assert "bad/run.json" in err
    assert "fault of intaglio" not in err
    code, out, _ = intaglio(capsys, "runs", "list", "--json", "--runs", sound.parent)
    assert {about["status"] for about in json.loads(out)} == {"done", "damaged"}
    for verb in ("show", "resume"):
        code, _, err = intaglio(capsys, "runs", verb, "bad", "--runs", sound.parent)
        assert (code, "fault" in err, "run.json" in err) == (2, False, True)
    code, _, err = intaglio(capsys, "report", bad)
    assert (code, "fault" in err) == (2, False)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "dangling"])
def test_what_is_no_file_in_place_of_run_json_hides_no_other(sound, capsys, kind):
    path = sound.parent / "bad" / "run.json"
    path.parent.mkdir()
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "dangling": lambda: path.symlink_to("nowhere"),
    }[kind]()
    code, out, _ = intaglio(capsys, "runs", "list", "--runs", sound.parent)
    assert (code, "bad" in out, sound.name in out) == (0, True, True)
    assert intaglio(capsys, "report", path.parent)[0] == 2


def test_a_run_whose_numbers_are_nan_stays_readable(sound, capsys):
    about = json.loads((sound / "run.json").read_text())
    (sound / "run.json").write_text(json.dumps({**about, "summary": {"ood_score": float("nan")}}))
    code, out, _ = intaglio(capsys, "runs", "list", "--json", "--runs", sound.parent)
    assert (code, json.loads(out, parse_constant=pytest.fail)[0]["summary"]) == (0, {"ood_score": None})
    assert intaglio(capsys, "report", sound)[0] == 0


def test_numbers_that_json_lacks_are_never_written(tmp_path):
    settings = {"limit": float("inf"), "nested": {"a": [float("nan")]}}
    with Run.open(tmp_path, "play", "toy", settings, {}, seed=0, device="cpu", command=[], progress="none") as run:
        run.finish({"score": float("nan"), "list": [float("inf"), 1.0]})
    about = json.loads((run.folder / "run.json").read_text(), parse_constant=pytest.fail)
    assert about["summary"] == {"score": None, "list": [None, 1.0]}
    assert about["settings"] == {"limit": "inf", "nested": {"a": ["nan"]}}


def test_a_file_is_no_folder_of_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for words in (["list"], ["reindex"], ["show", "x"]):
        code, out, err = intaglio(capsys, "runs", *words, "--runs", tmp_path / "file")
        assert (code, out, "is a file; give" in err) == (2, "", True)
    code, _, err = intaglio(capsys, "runs", "list", "--runs", tmp_path / "none")
    assert (code, "no runs in" in err) == (0, True)


def retouched(folder: Path, **changes) -> None:
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, **changes}))


def test_runs_are_listed_and_found_by_their_folders(sound, capsys):
    with opened(sound.parent, seed=1) as run:
        run.finish({})
    shutil.copytree(sound, sound.parent / "copy")
    retouched(run.folder, name=sound.name)
    names = {sound.name, run.name, "copy"}
    _, out, _ = intaglio(capsys, "runs", "list", "--runs", sound.parent)
    assert {line.split()[0] for line in out.splitlines()[1:]} == names
    _, out, _ = intaglio(capsys, "runs", "list", "--json", "--runs", sound.parent)
    assert {about["name"] for about in json.loads(out)} == names
    for name in names:
        code, out, _ = intaglio(capsys, "runs", "show", name, "--runs", sound.parent)
        assert (code, out.split()[:2]) == (0, ["run", name])


def test_a_run_whose_folder_was_renamed_is_found_by_its_old_name_too(sound):
    folder = sound.rename(sound.parent / "mine")
    for word in ("mine", sound.name, sound.name[-10:-4]):
        assert find_run(folder.parent, word).name == "mine"


def test_a_run_of_a_newer_version_is_left_as_it_is(sound, capsys):
    retouched(sound, format=99)
    before = (sound / "run.json").read_bytes()
    refusals = []  # kept, and the folder is free again after each
    for _ in range(2):
        with pytest.raises(BadInput, match="is of format 99, of a newer version; update intaglio") as refusal:
            opened(sound.parent)
        refusals.append(refusal)
    assert (sound / "run.json").read_bytes() == before
    for words in (["show", sound], ["resume", sound]):
        code, _, err = intaglio(capsys, "runs", *words, "--runs", sound.parent)
        assert (code, "of a newer version" in err) == (2, True)


def test_a_run_of_another_verb_than_its_name_says_is_damaged(sound, capsys):
    retouched(sound, verb="authenticate", method="loss-gap")
    code, _, err = intaglio(capsys, "runs", "show", sound, "--runs", sound.parent)
    assert (code, f"verb 'authenticate', where {sound.name} is a run of another verb" in err) == (2, True)
    retouched(sound, name="authenticate-loss-gap-0123456789")  # whose verb it is
    with opened(sound.parent) as run:
        assert (run.name, run.status) == (sound.name, "done")


# Lost results


@pytest.mark.parametrize("lost", ["weights/a.bin", "weights", "verdict.json"])
def test_a_finished_run_without_its_result_is_not_done(tmp_path, lost):
    with opened(tmp_path) as run:
        (run.folder / "weights").mkdir()
        for name in ("weights/a.bin", "weights/b.bin", "verdict.json", "notes.txt"):
            (run.folder / name).write_text(name)
        run.finish({}, ("weights", "verdict.json"))
    (run.folder / "notes.txt").unlink()
    assert opened(tmp_path).status == "done"
    path = run.folder / lost
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        path.unlink()
    with opened(tmp_path) as again:
        assert again.status == "unfinished"
        assert "is missing from this finished run, so its work is done again" in again.warnings[0]
        assert json.loads((run.folder / "run.json").read_text())["status"] == "unfinished"


@pytest.mark.parametrize(
    ("verb", "method", "summary", "file"),
    [
        ("authenticate", "cgi-dm", {}, "verdict.json"),
        ("extract", "cfg", {}, "extraction.json"),
        ("finetune", "lora", {"weights": "dog.safetensors"}, "dog.safetensors"),
        ("flow", "sample-auto", {"pictures_in": "result/pictures"}, "result/pictures"),
        ("flow", "train", {"model": "model"}, "model"),
        ("causal", "train", {"model": "model"}, "model"),
        ("discover", "sicl", {"graph_in": "result"}, "result"),
    ],
)
def test_results_of_runs_of_before_are_known_by_verb(tmp_path, verb, method, summary, file):
    header = {"verb": verb, "method": method, "summary": summary}
    assert lost_result(tmp_path, header) == file
    (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / file).write_text("x")
    assert lost_result(tmp_path, header) is None
    if summary:
        assert "the summary's" in lost_result(tmp_path, {**header, "summary": {}})
    assert lost_result(tmp_path, {"verb": "bench", "method": "flow", "summary": {}}) is None


FOREIGN = ["/etc/hostname", "../secret.bin", "weights/../../secret.bin", "C:\\secret.bin", "..\\secret.bin", "", "a\0b"]


@pytest.mark.parametrize("path", [*FOREIGN, "x" * 300])
def test_no_result_lies_outside_of_its_run(tmp_path, path):
    (tmp_path / "secret.bin").write_text("x")
    with opened(tmp_path) as run:
        (run.folder / "weights").mkdir()
        (run.folder / "weights/a.bin").write_text("x")
        run.finish({}, ("weights",))
    about = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**about, "results": ["weights/a.bin", path]}))
    with opened(tmp_path) as again:
        assert again.status == "unfinished"
    assert (tmp_path / "secret.bin").exists()
    assert (run.folder / "weights/a.bin").exists()
    assert (run.folder / "run.json").exists()


@pytest.mark.parametrize("results", [[], ["dog.safetensors"], ["README.md"]])
@pytest.mark.parametrize(
    "named", ["/etc/passwd", "../secret.safetensors", "README.md", "states/a.safetensors", "images"]
)
def test_weights_of_a_fine_tune_are_its_own_kind_of_result(tmp_path, results, named):
    folder = tmp_path / "run"
    (folder / "states").mkdir(parents=True)
    (folder / "images").mkdir()
    for place in ("run/README.md", "run/dog.safetensors", "run/states/a.safetensors", "secret.safetensors"):
        (tmp_path / place).write_text("x")
    header = {"verb": "finetune", "method": "lora", "results": results, "summary": {"weights": named}}
    assert lost_result(folder, header) is not None
    (folder / "model").mkdir()
    for own in ("dog.safetensors", "model"):
        assert lost_result(folder, {**header, "results": [own], "summary": {"weights": own}}) is None


def test_what_is_left_of_a_linked_result_is_not_removed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    with opened(tmp_path / "runs") as run:
        (run.folder / "weights").symlink_to(precious)
        for name in ("a.bin", "b.bin"):
            (precious / name).write_text(name)
        run.finish({}, ("weights",))
    (precious / "a.bin").unlink()
    opened(tmp_path / "runs").close()
    assert (precious / "b.bin").exists()
    clear_rest(run.folder, "weights/a.bin")  # which would raise for a link, too, were it not passed over
    assert (run.folder / "weights").is_symlink()


# States, streams and records edited by hand


def test_a_state_without_what_is_asked_of_it_names_its_file(tmp_path):
    with opened(tmp_path) as run:
        run.save_state("training", {"x": torch.ones(2)}, {"other": 1, "step": "x", "minus": -1, "yes": True})
        tensors, note = run.load_state("training")
        for ask in (
            lambda: note["absent"],
            lambda: tensors["absent"],
            lambda: note.whole("step"),
            lambda: note.whole("minus"),
            lambda: note.whole("yes"),
        ):
            with pytest.raises(IntaglioError, match=r"training.safetensors is damaged; delete it"):
                ask()
        assert note.whole("other") == 1


@pytest.mark.parametrize("note", ["[" * 100_000, "[1]", "{", "5"])
def test_a_state_with_a_damaged_note_names_its_file(tmp_path, note):
    from safetensors.torch import save_file

    with opened(tmp_path) as run:
        (run.folder / "states").mkdir()
        save_file({"x": torch.ones(2)}, run.folder / "states/a.safetensors", {"intaglio": note})
        with pytest.raises(IntaglioError, match=r"a.safetensors is damaged; delete it"):
            run.load_state("a")


def test_rows_that_no_run_wrote_are_passed_over(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"step": 1, "loss": 2.0}\n{"step": "x"}\n{"step": [1]}\n' + "[" * 100_000 + '\n5\n{"step": 2, "loss": NaN}\n'
    )
    assert [row["step"] for row in rows.read(path)] == [1, 2]
    rows.rewind(path, 1)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'


@pytest.mark.parametrize("record", ["[" * 100_000, "[]", '{"key": 5, "value": {}}', '{"key": "a", "value": 5}', "{}"])
def test_a_damaged_record_is_left_out_with_a_warning(tmp_path, record):
    with opened(tmp_path) as run:
        run.record("score", "b", {"value": float("nan")})
        (run.folder / "records/score/x.json").write_text(record)
        assert list(run.recorded("score")) == ["b"]
        assert "the record x.json of score is damaged" in run.warnings[0]


# Reports


def audit(folder: Path) -> Path:
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    return run_folders.audit_run(folder, pixels, pixels, np.zeros((25, 16, 16, 3), np.uint8))


@pytest.mark.parametrize("way", ["relative", "absolute", "link"])
def test_a_report_embeds_no_picture_from_outside_the_run(tmp_path, way):
    run = audit(tmp_path / "runs" / "audit")
    secret = tmp_path / "secret.png"
    Image.new("RGB", (16, 16), (1, 2, 3)).save(secret)
    verdict = json.loads((run / "verdict.json").read_text())
    place = {"relative": "../../secret.png", "absolute": str(secret), "link": "images/link.png"}[way]
    (run / "images/link.png").symlink_to(secret)
    before = write_report(run).read_text().count("data:image")
    verdict["questioned"][0]["images"]["original"] = place
    (run / "verdict.json").write_text(json.dumps(verdict))
    assert write_report(run).read_text().count("data:image") == before - 1


def test_a_report_embeds_no_picture_of_a_run_whose_name_begins_as_its_own(tmp_path):
    run = audit(tmp_path / "run-x")
    (tmp_path / "run-x2").mkdir()
    Image.new("RGB", (16, 16), (1, 2, 3)).save(tmp_path / "run-x2/secret.png")
    verdict = json.loads((run / "verdict.json").read_text())
    before = write_report(run).read_text().count("data:image")
    verdict["questioned"][0]["images"]["original"] = "../run-x2/secret.png"
    (run / "verdict.json").write_text(json.dumps(verdict))
    assert write_report(run).read_text().count("data:image") == before - 1


@pytest.mark.parametrize("verb", ["nothing", "finetune"])
def test_no_link_among_the_pictures_of_a_run_leads_out(tmp_path, verb):
    run = tmp_path / "run"
    run_folders.run_json(run, verb, "lora", settings={}, summary={})
    secret = tmp_path / "secret.png"
    Image.new("RGB", (16, 16)).save(secret)
    (run / "images").mkdir()
    (run / "samples").mkdir()
    for name in ("images/samples-000001.png", "images/x.png", "samples/0.png"):
        (run / name).symlink_to(secret)
    assert "data:image" not in write_report(run).read_text()


VERDICTS = {
    "cut": lambda v: json.dumps(v)[:100],
    "nested": lambda v: "[" * 100_000,
    "a list": lambda v: "[]",
    "threshold a text": lambda v: json.dumps({**v, "threshold": "x"}),
    "controls a text": lambda v: json.dumps({**v, "threshold": {**v["threshold"], "controls": "x", "value": None}}),
    "unknown field": lambda v: json.dumps({**v, "set_test": {**v["set_test"], "more": 1}}),
    "questioned numbers": lambda v: json.dumps({**v, "questioned": [1, 2]}),
    "captions a list": lambda v: json.dumps({**v, "captions": [1]}),
    "score a list": lambda v: json.dumps({**v, "questioned": [{**v["questioned"][0], "score": [1]}]}),
    "images a list": lambda v: json.dumps({**v, "questioned": [{**v["questioned"][0], "images": [1]}]}),
    "interval of one": lambda v: json.dumps({**v, "threshold": {**v["threshold"], "interval": [0.1]}}),
    "rate 0": lambda v: json.dumps({**v, "threshold": {**v["threshold"], "asked_rate": 0}}),
}


@pytest.mark.parametrize("spoil", VERDICTS.values(), ids=VERDICTS)
def test_a_verdict_that_no_version_wrote_is_one_sentence(tmp_path, capsys, spoil):
    run = audit(tmp_path / "audit")
    (run / "verdict.json").write_text(spoil(json.loads((run / "verdict.json").read_text())))
    code, _, err = intaglio(capsys, "report", run)
    assert (code, "fault of intaglio" in err, str(run) in err) == (2, False, True)


def test_names_and_texts_of_a_run_never_steer_a_terminal_or_a_page(tmp_path, capsys):
    evil = "\x1b]0;owned\a\x1b[2J\u202etxt\x9b31m"
    folder = tmp_path / "runs" / "x"
    run_folders.run_json(folder, "nothing", "toy", name=f"x{evil}", warnings=[evil], status=evil, settings={evil: evil})
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, "command": ["nothing", evil]}))
    for words in (["runs", "list"], ["runs", "show", folder], ["runs", "resume", folder]):
        _, out, err = intaglio(capsys, *words, "--runs", folder.parent)
        assert not set("\x1b\a\x9b\u202e") & set(out + err)
        assert r"\x1b]0;owned\x07" in out + err
    page = write_report(folder).read_text()
    assert not set("\x1b\a\x9b\u202e") & set(page)
    _, _, err = intaglio(capsys, "report", f"/nowhere/{evil}")
    assert not set("\x1b\a\x9b\u202e") & set(err)


# Resume


def foreign(root: Path, command: list[str], verb: str = "finetune", method: str = "lora") -> Path:
    folder = root / f"{verb}-{method}-0123456789"
    run_folders.run_json(folder, verb, method, status="unfinished", command=command)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--prompt", "x", "--out", "{elsewhere}"],
        ["report", "{elsewhere}"],
        ["finetune", "dreambooth", "--images", "x"],
        ["flow", "convert", "--checkpoint", "x", "--out", "{elsewhere}", "--size", "8", "8", "--noise", "0"],
        ["doctor"],
        ["runs", "reindex", "--runs", "{elsewhere}"],
    ],
)
def test_resume_runs_no_other_verb(tmp_path, capsys, command):
    elsewhere = tmp_path / "elsewhere"
    folder = foreign(tmp_path / "runs", [word.format(elsewhere=elsewhere) for word in command])
    before = sorted(tmp_path.rglob("*"))
    code, out, err = intaglio(capsys, "runs", "resume", folder)
    assert (code, out) == (2, "")
    assert "only a run's own command is run" in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("flag", ["--config", "--preset"])
def test_resume_reads_no_file_of_settings(tmp_path, capsys, flag):
    (tmp_path / "c.toml").write_text(f'prompt = "x"\nruns = "{tmp_path}/elsewhere"\n')
    folder = foreign(tmp_path / "runs", ["finetune", "lora", "--images", str(tmp_path), flag, str(tmp_path / "c.toml")])
    code, _, err = intaglio(capsys, "runs", "resume", folder)
    assert (code, flag in err) == (2, True)


def test_a_resumed_run_is_the_one_that_was_asked_for(tmp_path):
    with (
        opened(tmp_path) as run,
        pytest.raises(BadInput, match="makes another run, play-toy-"),
        resuming(tmp_path / "x"),
    ):
        opened(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with (
        resuming(run.folder),
        opened(tmp_path) as again,
        opened(tmp_path / "other"),
    ):  # what it starts is its own affair
        assert again.status == "unfinished"


@pytest.mark.parametrize("place", ["images", "images/preview", "records/score/deep"])
def test_a_resumed_run_with_a_link_out_of_its_folder_is_refused(tmp_path, place):
    with opened(tmp_path / "runs") as run:
        pass
    (tmp_path / "precious").mkdir()
    (run.folder / place).parent.mkdir(parents=True, exist_ok=True)
    (run.folder / place).symlink_to(tmp_path / "precious")
    with pytest.raises(BadInput, match=rf"{place} leads out of the run's folder"), resuming(run.folder):
        opened(tmp_path / "runs")
    assert opened(tmp_path / "runs").status == "unfinished"  # one's own command may use such a link


# Leftovers and killed workers


@pytest.mark.parametrize("name", [".tmp-0123456789abcdef", ".tmpAbC123", "states/.tmpxyz123", "images/.tmp-0/x.png"])
@pytest.mark.parametrize("finished", [False, True])
def test_leftovers_of_a_kill_are_swept_at_the_next_opening(tmp_path, name, finished):
    with opened(tmp_path) as run:
        if finished:
            run.finish({})
    path = run.folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("half")
    opened(tmp_path).close()
    assert not path.exists()


def dies(job: int) -> int:
    if job == 1:
        time.sleep(0.2)  # the other answer may come first
        os.kill(os.getpid(), signal.SIGKILL)
    return job


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_a_killed_worker_is_one_sentence_with_the_remedy():
    with pytest.raises(IntaglioError, match="a worker process was killed.*fewer workers need less memory"):
        list(fan_out(dies, [0, 1], workers=2))


def test_find_run_takes_no_folder_that_is_none(tmp_path):
    with pytest.raises(BadInput, match="no run in"):
        find_run(tmp_path, "x")
    with pytest.raises(BadInput, match="no run in"):
        find_run(tmp_path, "")
