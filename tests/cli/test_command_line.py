"""From words to a command: flags, defaults from a file, errors in one sentence, exit codes."""

import errno
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
from intaglio import cli
from intaglio.commands.kit import console, dispatch, parsing
from intaglio.errors import BadInput, IntaglioError
from intaglio.verbs import VERBS


@pytest.fixture(autouse=True)
def toy_verbs(monkeypatch, tmp_path):
    monkeypatch.setattr(dispatch, "VERBS", toy.VERBS)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    for name in ("x", "p"):
        (tmp_path / name).mkdir()
    toy.CALLS.clear()
    toy.RAISES.clear()


@pytest.fixture
def run_line(capsys):
    def run(line: str):
        code = cli.main(shlex.split(line))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def without_boxes(text: str) -> str:
    """Without what depends on the terminal: boxes, rulers, and space at line ends."""
    lines = (re.sub("[╭╮╰╯│─]|--{3,}", "", line).rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "--version",
        "play",
        "play --help",
        "play toy --help",
        "tell --help",
        "game",
        "game start --help",
        "game end --help",
        "read --help",
    ],
)
def test_help(line, run_line, snapshot):
    code, out, err = run_line(line)
    assert (code, err) == (0, "")
    assert without_boxes(out) == snapshot


@pytest.mark.parametrize(
    "line",
    [
        "pley",
        "quite-another",
        "play tyo",
        "play --pictures x",
        "play toy",
        "play toy --pictures x --stps 3",
        "play toy --pictures x --steps three",
        "play toy --pictures x --half middle",
        "play toy --pictures x --steps 0",
        "play toy --pictures x --config",
        "tell",
        "tell it again",
        "read",
        "read tyo it",
    ],
)
def test_bad_usage_is_said_on_standard_error_with_exit_code_2(line, run_line, snapshot):
    code, out, err = run_line(line)
    assert (code, out) == (2, "")
    assert without_boxes(err) == snapshot
    assert toy.CALLS == []


def test_flags_fill_the_real_method():
    assert cli.main(shlex.split("play toy --pictures x --steps 3 --no-exact --betas 0 1 --half right")) == 0
    (command,) = toy.CALLS
    assert command == toy.Play(Path("x"), toy.Toy(3, "right", False, (0.0, 1.0)))
    assert type(command.method) is toy.Toy


def test_a_command_s_own_exit_code_is_kept():
    assert cli.main(["tell", "it"]) == 0
    assert cli.main(["tell", "it", "--loud"]) == 3


@pytest.mark.parametrize(
    "line", ["read it --steps 3", "read toy it --steps 3", "read --steps 3 it", "read --steps=3 it"]
)
def test_a_bare_word_may_stand_in_the_method_s_place(line):
    assert cli.main(shlex.split(line)) == 0
    assert [toy.Read(page="it", method=toy.Toy(3))] == toy.CALLS
    assert list(parsing.to_words(toy.CALLS[0])) == ["it", "--steps", "3"]


def test_a_file_gives_defaults_that_flags_override(tmp_path):
    file = tmp_path / "toy.toml"
    file.write_text('pictures = "p"\nsteps = 5\nexact = false\nbetas = [0.5, 0.25]\nprompt = "-a b"\nhalf = "right"\n')
    assert cli.main(shlex.split(f"play toy --steps 7 --config {file} --half left")) == 0
    assert [toy.Play(Path("p"), toy.Toy(7, "left", False, (0.5, 0.25)), "-a b")] == toy.CALLS


@pytest.mark.parametrize("spelling", ["limit-", "li-mit", "li_mit"])
def test_an_unknown_key_names_the_file_the_key_and_the_nearest(tmp_path, run_line, spelling):
    file = tmp_path / "toy.toml"
    file.write_text(f"{spelling} = 5\n")
    code, _, err = run_line(f"play toy --pictures x --config={file}")
    assert code == 2
    assert str(file) in err
    assert spelling in err
    assert "did you mean limit" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [("[toy]\nsteps = 1\n", "top-level keys"), ("steps = \n", "is not a TOML file"), ("steps = 'many'", "steps")],
)
def test_a_wrong_file_is_bad_usage(tmp_path, run_line, content, says):
    file = tmp_path / "toy.toml"
    file.write_text(content)
    code, _, err = run_line(f"play toy --pictures x --config {file}")
    assert code == 2
    assert says in err
    assert toy.CALLS == []


def test_a_missing_file_is_bad_usage(run_line):
    code, _, err = run_line("play toy --pictures x --config none.toml")
    assert (code, err) == (2, "intaglio: --config none.toml cannot be read: No such file or directory\n")


def test_a_positional_word_cannot_come_from_a_file(tmp_path, run_line):
    file = tmp_path / "toy.toml"
    file.write_text('what = "it"\n')
    code, _, err = run_line(f"tell it --config {file}")
    assert code == 2
    assert "a word of the command line" in err


@given(
    steps=st.integers(1, 99),
    prompt=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    exact=st.booleans(),
    betas=st.tuples(st.floats(-1, 1), st.floats(0, 1)),
    limit=st.none() | st.integers(-3, 3),
)
def test_the_words_of_a_command_make_it_again(steps, prompt, exact, betas, limit):
    settings = toy.Toy(steps, "right", exact, betas, limit)
    command = toy.Play(Path("x").absolute(), settings, prompt, Path("y").absolute())
    words = list(parsing.to_words(command))
    assert parsing.read_command("toy:Play", "toy:Toy", words, ["toy"]) == command


def test_words_say_what_differs_and_where_from_any_folder():
    words = list(parsing.to_words(toy.Play(Path("x"), toy.Toy(steps=3))))
    assert words == ["--pictures", str(Path.cwd() / "x"), "--steps", "3", "--out", str(Path.cwd() / "runs")]
    assert list(parsing.to_words(toy.Tell("it", loud=True))) == ["it", "--loud"]


def test_commands_know_their_line_and_whether_to_be_quiet(monkeypatch, capsys, tmp_path):
    seen = []

    def call(self):
        seen.append((console.command_line(), console.shown()))
        console.note("a comment")
        console.say("a result")

    monkeypatch.setattr(toy.Tell, "__call__", call)
    cli.main(["tell", "it", "--loud", "--quiet"])
    assert seen == [(["tell", "it", "--loud"], "none")]
    assert capsys.readouterr() == ("a result\n", "")
    cli.main(["tell", "it"])
    assert capsys.readouterr() == ("a result\n", "a comment\n")
    assert console.command_line() == []


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (IntaglioError("It failed; do this."), 1, "It failed; do this."),
        (BadInput("It is bad; do that."), 2, "It is bad; do that."),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from where it was"),
        (OSError(errno.ENOSPC, "No space left on device", "x.png"), 1, "the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 1, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, "runs: Permission denied"),
        (MemoryError(), 1, "out of memory; a smaller --batch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 1, "out of memory"),
        (KeyError("nothing"), 1, "a fault of intaglio itself, KeyError: 'nothing'"),
    ],
)
def test_every_bad_end_is_one_sentence_and_an_exit_code(run_line, error, code, says):
    toy.RAISES.append(error)
    found, out, err = run_line("play toy --pictures x")
    assert (found, out) == (code, "")
    assert err.startswith(f"intaglio: {says}")
    assert err.count("\n") == 1


def test_debug_lets_the_traceback_through():
    toy.RAISES.append(IntaglioError("It failed."))
    with pytest.raises(IntaglioError):
        cli.main(["play", "toy", "--pictures", "x", "--debug"])


@pytest.mark.parametrize("word", ["--quiet", "--debug"])
def test_common_flags_alone_show_the_table(run_line, word):
    assert run_line(word) == run_line("--help")


def test_preset_reference_is_the_published_procedure_and_flags_win():
    from intaglio.audit.membership.methods.cgi_dm import CGIDM

    path = ["authenticate", "cgi-dm"]
    verb = VERBS["authenticate"]
    needed = ["--suspect", "s", "--images", "i", "--controls", "c"]
    preset = parsing.preset_file(path, "reference")
    target = verb.methods["cgi-dm"].target
    read = partial(parsing.read_command, verb.command, target)
    made = parsing.with_method(read([*needed, "--seed", "3"], path, preset), target)
    assert made.method == CGIDM.reference(seed=3)
    fewer = parsing.with_method(read([*needed, "--steps", "5"], path, preset), target)
    assert fewer.method == CGIDM.reference(steps=5)


def test_preset_pian_is_the_normalised_form_of_pia():
    from intaglio.audit.membership.methods.pia import PIA

    target, path = VERBS["authenticate"].methods["pia"].target, ["authenticate", "pia"]
    needed = ["--suspect", "s", "--images", "i", "--controls", "c"]
    read = partial(parsing.read_command, VERBS["authenticate"].command, target)
    made = parsing.with_method(read(needed, path, parsing.preset_file(path, "pian")), target)
    assert made.method == PIA(normalise=True)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(BadInput, match="no preset 'refrence'; did you mean reference"):
        parsing.preset_file(["authenticate", "cgi-dm"], "refrence")
    with pytest.raises(BadInput, match="it has none"):
        parsing.preset_file(["authenticate", "clid"], "reference")
