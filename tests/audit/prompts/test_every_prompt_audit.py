"""What holds of every audit of prompts; a method joins by its file and its own test."""

import json

import pytest
import torch

import tiny
from audit_scenes import model, nudged
from intaglio.audit.prompts.audit import audit_prompts
from intaglio.audit.prompts.result import PromptScores
from intaglio.cli import main
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.models.capabilities import check_needs
from rows import flags, matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "audit prompts"]
every_prompt_audit = pytest.mark.parametrize("row", ROWS)
PROMPTS = ("red cat", "dog", "a red dog")


def made(row):
    return load(row.target)(**row.small)


@pytest.fixture(scope="module")
def base():
    return model()


@pytest.fixture(scope="module")
def tuned(base):
    return nudged(base)


@every_prompt_audit
def test_neither_order_nor_repetition_of_prompts_matters(row, base, tuned):
    method = made(row)
    assert len(method.reading) > 20
    found = method(tuned, PROMPTS, base=base)
    turned = method(tuned, [PROMPTS[2], PROMPTS[0], PROMPTS[1], PROMPTS[0]], base=base)
    assert torch.equal(found.scores[[2, 0, 1, 0]], turned.scores)
    torch.testing.assert_close(found.scores, method(tuned, PROMPTS).scores - method(base, PROMPTS).scores)
    assert [len(shares) for shares in found.shares] == [2, 1, 3]


@every_prompt_audit
def test_what_it_cannot_ask_about_is_refused_before_any_work(row, base, tuned, monkeypatch):
    method = made(row)
    for one in (base, tuned):
        monkeypatch.setattr(one, "embed", lambda *given, **more: pytest.fail("worked"))
    twin = base.copy()
    monkeypatch.setattr(twin, "name", "twin")
    few = [f"control {k}" for k in range(18)]
    for words, refused in {
        "there are no prompts": lambda: method(tuned, []),
        "a blank prompt": lambda: method(tuned, ["cat", " "]),
        "the same weights": lambda: method(twin, ["cat"], base=base),
        "18 different controls cannot show .* give more prompts": lambda: audit_prompts(
            method, tuned, ["cat"], controls=[*few, few[0]]
        ),
        "'cat' is both asked about and a control": lambda: audit_prompts(
            method, tuned, ["cat"], controls=["cat", *few]
        ),
    }.items():
        with pytest.raises(BadInput, match=words):
            refused()
    with pytest.raises(BadInput, match=f"{row.method} needs a model that .*; TarFlow does not"):
        check_needs(method, tiny.flow(double=False))


def scores(values, controls):
    found = torch.tensor(values, dtype=torch.float64)
    known = tuple(f"control {k}" for k in range(len(controls)))
    return PromptScores(
        "text-norm", PROMPTS, found, {"model": found.flip(0)}, ((0.25, 0.75), (), (0.1, 0.2, 0.7)), known,
        torch.tensor(controls, dtype=torch.float64), 0.25,
    )  # fmt: skip


def test_a_prompt_is_called_where_its_p_value_among_the_controls_is_low_enough():
    found = scores([0.5, 3.5, 2.0], [0.0, 1.0, 2.0])
    assert found.p_values == (3 / 4, 1 / 4, 2 / 4)
    assert found.called == (False, True, False)
    assert [row["prompt"] for row in found.rows()] == ["dog", "a red dog", "red cat"]
    assert [row["word"] for row in found.rows()] == [None, "dog", "cat"]
    assert "1 of 3 prompts are called memorised" in found.statement
    without = scores([0.5, 3.5, 2.0], [])
    assert (without.p_values, without.called) == ((None,) * 3, (None,) * 3)
    assert "uncalibrated" in without.statement
    assert list(without.to_frame().index) == ["dog", "a red dog", "red cat"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    base, tuned = tiny.pair_folders(root)
    (root / "prompts.txt").write_text("red cat\n\ndog\nred cat\n")
    (root / "controls.txt").write_text("a cat\nhouse\nbig dog\n")
    return root, ["--model", str(tuned), "--base", str(base)]


def test_the_command_ranks_prompts_and_shows_what_is_drawn_for_the_first(folders, tmp_path, capsys):
    root, models = folders
    words = ["audit", "prompts", "text-norm", *models, "--prompts", str(root / "prompts.txt"), "--controls"]
    words += [str(root / "controls.txt"), "--fpr", "0.25", "--shown", "2", "--runs", str(tmp_path), "--quiet"]
    words += flags({"steps": 2, "noises": 1, "word_steps": 1})
    assert main(words) == 0
    said = capsys.readouterr().out
    (folder,) = tmp_path.glob("audit-prompts-text-norm-*")
    stored = json.loads((folder / "prompt_scores.json").read_text())
    assert {row["prompt"] for row in stored["prompts"]} == {"red cat", "dog"}
    assert len(stored["controls"]) == 3
    first = max(stored["prompts"], key=lambda row: row["score"])
    assert said.splitlines()[1].endswith(first["prompt"])
    assert {role: len(paths) for role, paths in first["drawn"].items()} == {"model": 3, "base": 3}
    assert all((folder / path).is_file() for paths in first["drawn"].values() for path in paths)
    page = (folder / "report.html").read_text()
    assert page.count("<img class") == 12
    other = next(row for row in stored["prompts"] if row is not first)
    assert page.index(f"<h3>{first['prompt']}</h3>") < page.index(f"<h3>{other['prompt']}</h3>")
    assert "color-mix(in srgb,var(--in)" in page
    assert "twice or more" in page
    record = json.loads((folder / "run.json").read_text())
    (folder / "images" / "drawn" / "00" / "model-0.png").unlink()
    assert main(words) == 0  # drawn again, from the recorded scores
    assert json.loads((folder / "prompt_scores.json").read_text()) == stored
    assert json.loads((folder / "run.json").read_text())["summary"] == record["summary"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "there are no prompts to ask about; give --prompt"),
        (["--prompts", "nowhere.txt"], "nowhere.txt does not exist; check the path of --prompts"),
        (["--prompt", ""], "a blank prompt"),
        (["--prompt", "cat", "--controls", "{root}/controls.txt"], "3 different controls cannot show"),
        (["--prompt", "cat", "--controls", "{root}/controls.txt", "--fpr", "1.5"], "fpr must lie between 0 and 1"),
        (["--prompt", "cat", "--prompts", "{root}/prompts.txt"], "give one of --prompt and --prompts"),
    ],
)
def test_bad_input_is_told_at_once(folders, tmp_path, capsys, given, words):
    root, models = folders
    given = [one.format(root=root) for one in given]
    assert main(["audit", "prompts", "text-norm", *models, *given, "--runs", str(tmp_path)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
