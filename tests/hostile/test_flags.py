"""Flags and files of settings: devices, numbers out of range, lists that hold flags, flags without effect."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import audit_scenes
import tiny
from intaglio import cli
from intaglio.causal.tables import table_file
from intaglio.commands.extract import Extract
from intaglio.commands.flow.bpd import FlowBpd
from intaglio.commands.kit import dispatch
from intaglio.commands.kit.console import say
from intaglio.commands.kit.devices import known_devices
from intaglio.commands.kit.parsing import to_words
from intaglio.commands.kit.plain_values import LARGEST
from intaglio.extract.methods.cfg import ClassifierFreeExtract
from intaglio.extract.prompts import suggested_prompt
from intaglio.flow.training.settings import FlowTraining
from intaglio.images.image_set import save_png
from intaglio.printable import aligned
from intaglio.runs.progress import showing
from intaglio.runs.tables import rows_csv


def intaglio(capsys, *words: object):
    code = cli.main([str(word) for word in words])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A base, a suspect, pictures and others."""
    root = tmp_path_factory.mktemp("pair")
    tiny.sd_folder(root / "base", seed=0)
    tiny.sd_folder(root / "suspect", seed=1)
    for name, count in (("pictures", 2), ("controls", 4)):
        for k in range(count):
            pixels = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(k + 10 * count))
            save_png(pixels, root / name / f"{k}.png")
    return root


# Devices


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "bogus", "", "meta", "mps", "cpu:x", "CPU ", "cuda:-1", "xpu"])
@pytest.mark.parametrize(
    "words",
    [
        ["sample", "--prompt", "x"],
        ["finetune", "lora", "--images", "none"],
        ["authenticate", "loss-gap", "--suspect", "none", "--images", "none", "--controls", "none"],
        ["extract", "cfg", "--suspect", "none", "--authority", "mine"],
        ["flow", "sample", "sequential"],
        ["flow", "bpd", "--images", "none"],
        ["flow", "train", "--images", "none"],
        ["flow", "calibrate"],
        ["discover", "sicl", "none.csv"],
        ["demo"],
        ["bench", "flow"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_device_that_is_not_there_is_bad_input_before_any_work(capsys, monkeypatch, words, device):
    if any(device.startswith(name.partition(":")[0]) for name in known_devices()[1:]):
        pytest.skip("this machine has it")
    code, out, err = intaglio(capsys, *words, "--device", device)
    assert (code, out) == (2, "")
    assert f"--device {device!r} cannot compute here" in err
    assert "cpu" in err.partition("cannot compute here")[2]


def test_the_base_has_a_device_of_its_own(capsys):
    words = ["authenticate", "loss-gap", "--suspect", "none", "--images", "none", "--controls", "none"]
    code, _, err = intaglio(capsys, *words, "--base-device", "bogus")
    assert (code, "--base-device 'bogus' cannot compute here" in err) == (2, True)


def test_a_device_that_computes_wrongly_is_not_used(capsys, monkeypatch):
    monkeypatch.setattr(torch, "ones", lambda *_, **__: torch.zeros(1))
    code, _, err = intaglio(capsys, "sample", "--prompt", "x", "--device", "cpu:0")
    assert (code, "computes 1 + 1 = 1" in err) == (2, True)


# Values that nothing takes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["finetune", "lora", "--images", "x", "--seed", 10**30], "--seed must be within"),
        (["flow", "sample", "sequential", "--seed", 2**63], "--seed must be within"),
        (["flow", "bpd", "--images", "x", "--seed", -(2**70)], "--seed must be within"),
        (["discover", "x.csv", "--rows", 10**30], "--rows must be within"),
        (["finetune", "lora", "--images", "x", "--learning-rate", "nan"], "learning"),
        (["authenticate", "loss-gap", "--suspect", "a", "--images", "b", "--controls", "c", "--fpr", "nan"], "fpr"),
        (["flow", "sample", "sequential", "--temperature", "nan"], "temperature"),
        (["sample", "--prompt", "x", "--runs\0"], ""),
        (["sample", "--prompt", "a\0b"], "--prompt holds a NUL"),
        (["sample", "--prompt", "caf\udce9"], "--prompt is not UTF-8 text"),
        (["finetune", "lora", "--images", "x", "--prompt", "caf\udce9"], "--prompt is not UTF-8 text"),
        (["runs", "show", "a\0b"], "--run holds a NUL"),
        (["report", "a\0b"], "--run holds a NUL"),
        (["sample", "--prompt", "x", "--out", "a\0b"], "--out holds a NUL"),
        (["sample", "--prompt", "x", "--lora", ""], "--lora is empty"),
        (["sample", "--prompt", "x", "--out="], "--out is empty"),
        (["sample", "--prompt", "x", "--config", ""], "--config is empty"),
        (["flow", "sample", "--model", ""], "--model is empty"),
        (["discover", ""], "the first word is empty"),
        (["authenticate", "loss-gap", "--suspect", "a", "--images", "", "--controls", "c"], "--images is empty"),
        (["sample", "--prompt", "a", "--prompt", "b"], "--prompt is given twice"),
        (["discover", "x.csv", "--without", "a", "--without", "b"], "--without is given twice"),
        (["discover", "x.csv", "--subsamples", 10**6], "subsamples must be at most 10,000"),
        (["flow", "sample", "--count", 10**12], "are the most of one command"),
        (["flow", "sample", "sequential", "--count", 10**7], "are the most of one command"),
        (
            ["extract", "cfg", "--suspect", "x", "--authority", "m", "--generations", 10**12],
            "generations must be at least 2 and at most",
        ),
        (
            ["extract", "cfg", "--suspect", "x", "--authority", "m", "--workers", 10**9],
            "workers must be at least 1 and at most 1024",
        ),
        (["flow", "train", "--images", "x", "--blocks", 10**9], "blocks must be at most"),
        (["flow", "train", "--images", "x", "--hidden-size", 2**30], "hidden_size must be at most"),
        (["flow", "train", "--images", "x", "--layers", 10**9], "layers must be at most"),
        (["flow", "train", "--images", "x", "--resolution", 2**20], "resolution must be at most"),
        (["flow", "train", "--images", "x", "--batch", 10**12], "batch must be at most"),
        (["finetune", "lora", "--images", "x", "--batch", 10**12], "batch must be at least 1 and at most"),
        (
            ["finetune", "lora", "--images", "x", "--class-count", 10**12, "--class-prompt", "y"],
            "--class-count asks for",
        ),
        (["finetune", "lora", "--images", "x", "--sample-count", 10**12], "sample_count must be at most"),
        (["finetune", "lora", "--images", "x", "--watch-count", 10**12], "watch_count"),
        (["flow", "bpd", "--images", "x", "--draws", 10**12], "draws must be at least 1 and at most"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60].replace("\0", "0") if isinstance(value, list) else "",
)
def test_values_that_nothing_takes_are_bad_usage(capsys, words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "x" / "a.png")
    (tmp_path / "x" / "a.txt").write_text("a caption")
    (tmp_path / "x" / "model_index.json").touch()
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    code, out, err = intaglio(capsys, *words)
    assert (code, out) == (2, "")
    assert says in err
    assert "fault of intaglio" not in err


def test_the_largest_numbers_are_taken(capsys):
    assert ClassifierFreeExtract(generations=1_000_000).generations == 1_000_000
    assert FlowTraining(hidden_size=4096, blocks=8, layers=(8,), head_dim=64).blocks == 8
    _, _, err = intaglio(capsys, "flow", "sample", "sequential", "--seed", LARGEST, "--model", "none")
    assert "seed" not in err


def test_latents_beyond_the_memory_are_refused_before_they_are_drawn(capsys, monkeypatch):
    monkeypatch.setattr("intaglio.commands.flow.sample.memory_bytes", lambda: 10**6)
    code, _, err = intaglio(capsys, "flow", "sample", "sequential", "--model", "cpu-tiny", "--count", 100_000)
    assert (code, "draw them in parts, each from its own --seed" in err) == (2, True)


# Files of settings


def configured(tmp_path: Path, content: str, *words: str) -> list[str]:
    (tmp_path / "c.toml").write_text(content)
    return [*words, "--config", str(tmp_path / "c.toml")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('prompt = ["x", "--device", "meta"]', "a list with '--device', which reads as a flag"),
        ('prompt = ["x", "--out=/elsewhere"]', "a list with '--out=/elsewhere', which reads as a flag"),
        ('prompt = ["-h", "x"]', "which reads as a flag"),
        ('prompt = [["x"], "y"]', "give texts, numbers"),
        ("prompt = [1979-05-27]", "give texts, numbers"),
        ("prompt = 1979-05-27", "give texts, numbers"),
        ('prompt = "x"\nout = "a\\u0000b"', "holds control characters"),
        ('sampler = "\\u001b]0;owned\\u0007"', "holds control characters"),
        ('prompt = "x"\nseed = 1000000000000000000000000000000', "Value error"),
        ('prompt = "x"\ndevice = "bogus"', "cannot compute here"),
        ("a = " + "[" * 100_000, "nests too deep"),
        ("guidance = nan", "beyond every floating-point number"),
        ("[sample]\nsteps = 1", "top-level keys"),
        ('prompt = "x"\nout = ""', "--out is empty"),
        ('prompt = "x"\nsteps = true', "sets 'steps' to true, where a whole number is due"),
        ('prompt = "x"\nmetadata = 1', "sets 'metadata' to 1, where true or false is due"),
        ('prompt = "x"\nguidance = [1, 2]', "sets 'guidance' to [1, 2], where one value is due"),
    ],
    ids=range(17),
)
def test_a_file_of_settings_holds_no_flags_and_no_nonsense(tmp_path, capsys, content, says):
    code, out, err = intaglio(capsys, *configured(tmp_path, content, "sample"))
    assert (code, out) == (2, "")
    assert says in err


def test_texts_with_a_dash_are_taken_where_they_are_one_value(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("intaglio.commands.sample.Sample._sample", lambda self: drawn.append(self) or 0)
    for content, prompt, negative in (
        ('prompt = ["--a cat"]\nnegative = "-b"', ("--a cat",), "-b"),
        ('prompt = ["a", "b - c"]', ("a", "b - c"), ""),
    ):
        assert cli.main(configured(tmp_path, content, "sample")) == 0
        assert (drawn[-1].prompt, drawn[-1].negative) == (prompt, negative)
        assert cli.main(["sample", *to_words(drawn[-1])]) == 0
        assert replace(drawn[-1], out=Path("pictures")) == drawn[-2]


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize(
    "words",
    [
        ["sample", "--prompt", "x", "--config", "{}"],
        ["sample", "--prompts", "{}"],
        ["sample", "--replay", "{}"],
        ["discover", "{}"],
        [
            "authenticate",
            "loss-gap",
            "--suspect",
            "{root}/suspect",
            "--base",
            "{root}/base",
            "--images",
            "{root}/pictures",
            "--controls",
            "{root}/controls",
            "--fpr",
            "0.2",
            "--boxes",
            "{}",
        ],
        [
            "authenticate",
            "cgi-dm",
            "--suspect",
            "{root}/suspect",
            "--base",
            "{root}/base",
            "--images",
            "{root}/pictures",
            "--controls",
            "{root}/controls",
            "--fpr",
            "0.2",
            "--similarity",
            "{}.pt",
        ],
        ["finetune", "lora", "--model", "{root}/base", "--images", "{}", "--prompt", "x"],
    ],
    ids=range(7),
)
def test_pipes_and_devices_among_inputs_are_refused_unread(tmp_path, capsys, monkeypatch, pair, words, kind):
    monkeypatch.setattr(table_file, "WRITER_S", 0.05)
    words = [word.format(tmp_path / "x", root=pair) for word in words]
    for name in ("x", "x.pt"):
        os.mkfifo(tmp_path / name) if kind == "pipe" else (tmp_path / name).symlink_to("/dev/zero")
    code, _, err = intaglio(capsys, *words, *([] if words[0] == "sample" else ["--runs", str(tmp_path / "runs")]))
    assert (code, "fault of intaglio" in err) == (2, False)
    assert f"is a {kind}" in err or "is no file" in err


def test_an_empty_prompt_and_the_current_folder_are_taken(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr("intaglio.commands.sample.Sample._sample", lambda self: drawn.append(self) or 0)
    assert cli.main(["sample", "--prompt", "", "--negative", "", "--out", "."]) == 0
    assert drawn[0].prompt == ("",)


def test_a_flag_that_is_given_twice_gets_a_word(capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr("intaglio.commands.sample.Sample._sample", lambda self: drawn.append(self.steps) or 0)
    code, _, err = intaglio(capsys, "sample", "--prompt", "x", "--steps", "5", "--steps=6")
    assert (code, drawn, err) == (0, [6], "--steps is given twice; the last one counts\n")
    _, _, err = intaglio(capsys, "sample", "--prompt", "x", "--steps", "5", "--steps=5", "--seed", "1")
    assert err == ""


# Flags without effect


@pytest.mark.parametrize("measure", ["nowhere", "embedded"])
def test_a_similarity_that_no_method_uses_gets_a_word(tmp_path, pair, capsys, measure):
    words = ["authenticate", "loss-gap", "--suspect", pair / "suspect", "--base", pair / "base", "--images"]
    words += [pair / "pictures", "--controls", pair / "controls", "--fpr", "0.25", "--levels", "1", "--runs", tmp_path]
    code, out, err = intaglio(capsys, *words, "--similarity", measure)
    assert code == 0
    said = "loss-gap judges without comparing pictures, so --similarity has no effect"
    assert said in err
    (run,) = tmp_path.glob("*/run.json")
    assert said in json.loads(run.read_text())["warnings"]
    assert said in Path(out.splitlines()[-1]).read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--guidance-rule", "gaussian", "--temperature", "2"], "--guidance-rule, --temperature has no effect"),
        (["--no-annealed"], "--guidance 0 guides no block, so --annealed has no effect"),
        (["--guide-blocks", "first"], "--guide-blocks has no effect"),
    ],
)
def test_flags_of_a_guidance_that_is_none_get_a_word(tmp_path, capsys, words, says):
    line = ["flow", "sample", "sequential", "--model", "cpu-tiny", "--count", "1", "--runs", tmp_path, *words]
    code, _, err = intaglio(capsys, *line)
    assert (code, says in err) == (0, True)


def test_flags_without_effect_are_known_verb_by_verb():
    method = ClassifierFreeExtract()
    bare = {"method": method, "suspect": Path("x"), "authority": "mine"}
    assert Extract(**bare, control=False, fdr=0.2)._idle() != []
    assert Extract(**bare, control=False)._idle() == Extract(**bare, fdr=0.2)._idle() == []
    with pytest.raises(ValueError, match="batch must be at least 1 and at most"):
        FlowBpd(images=Path("x"), batch=0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--kinds", "a=nominal", "a=continuous"], "--kinds names 'a' twice, as nominal and as continuous"),
        (["--tiers", ";;"], "--tiers ';;' names no column"),
    ],
)
def test_words_about_columns_that_say_nothing_or_two_things_are_bad_usage(tmp_path, capsys, words, says):
    rows = "\n".join(f"{k % 7},{k % 5}" for k in range(60))
    (tmp_path / "t.csv").write_text(f"a,b\n{rows}\n")
    code, _, err = intaglio(capsys, "discover", tmp_path / "t.csv", "--runs", tmp_path, *words)
    assert (code, says in err) == (2, True)


def test_a_model_that_lacks_nothing_needs_no_like(tmp_path, pair, capsys):
    words = ["sample", "--prompt", "x", "--steps", "1", "--out", tmp_path, "--like", pair / "suspect", "--model"]
    code, _, err = intaglio(capsys, *words, pair / "base")
    assert (code, "base had all parts, so --like has no effect" in err) == (0, True)
    words = ["authenticate", "loss-gap", "--suspect", pair / "suspect", "--base", pair / "base", "--images"]
    words += [pair / "pictures", "--controls", pair / "controls", "--fpr", "0.25", "--levels", "1", "--runs", tmp_path]
    code, _, err = intaglio(capsys, *words, "--like", pair / "suspect")
    assert (code, "base had all parts, so --like has no effect" in err) == (0, True)


def test_a_model_that_takes_a_part_from_like_needs_it(tmp_path, pair, capsys):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "unet").symlink_to(pair / "suspect" / "unet")
    words = ["sample", "--prompt", "x", "--steps", "1", "--out", tmp_path / "o", "--model", tmp_path / "part"]
    code, _, err = intaglio(capsys, *words, "--like", pair / "base")
    assert (code, "no effect" in err, "taken from base" in err) == (0, False, True)


# Texts that are shown


def test_what_a_terminal_would_obey_is_spelt_everywhere(capsys, monkeypatch):
    evil = "\x1b]0;x\a\u202e\udce9\r"
    say(evil)
    say(aligned([("a", f"b\n{evil}"), ("c\td", "e")]))
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    with showing(1, evil, 0, "auto"):
        pass
    out, err = capsys.readouterr()
    assert not set("\x1b\a\u202e\udce9\r") & set(out + err)
    assert out.startswith("\\x1b]0;x\\x07\\u202e\\xe9\\x0d\n")
    assert "b\\n\\x1b" in out


def test_a_name_in_a_refusal_is_spelt(tmp_path, capsys):
    code, _, err = intaglio(capsys, "report", f"{tmp_path}/\x1b[2J\u202e")
    assert (code, "\x1b" in err, "\u202e" in err, r"\x1b[2J\u202e" in err) == (2, False, False, True)


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_no_cell_begins_a_formula(beginning):
    text = rows_csv([{"name": f"{beginning}HYPERLINK(1).png", "score": -1.5}], ["name", "score"])
    assert f"'{beginning}HYPERLINK" in text
    assert "-1.5" in text
    assert rows_csv([{"name": "a=b.png"}], ["name"]) == "name\na=b.png\n"


# Notes beside a model


def test_a_hostile_note_of_a_lora_suggests_no_prompt(tmp_path):
    from safetensors.torch import save_file

    model = audit_scenes.model()
    for note in ("[" * 100_000, "5", '{"a": {"x": "y", "z": 1}}', '{"a": [1]}'):
        save_file({"x": torch.ones(1)}, tmp_path / "a.safetensors", {"ss_tag_frequency": note})
        assert suggested_prompt(tmp_path / "a.safetensors", model, model) is None
    os.mkfifo(tmp_path / "README.md")
    assert suggested_prompt(tmp_path / "a.safetensors", model, model) is None


def test_every_verb_is_dispatched_through_the_same_checks():
    assert dispatch.check_devices.__module__ == "intaglio.commands.kit.devices"
