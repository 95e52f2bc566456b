"""`intaglio audit unlearn-attack` from the command line to its report."""

import tiny
from intaglio.audit.unlearning.attack.result import UnlearnAttacks
from intaglio.cli import main


def test_the_run_keeps_the_tries_and_pictures_and_what_is_wrong_is_told(tmp_path, capsys):
    base, changed = tiny.pair_folders(tmp_path / "models")
    line = ["audit", "unlearn-attack", "random-tokens", "--model", str(changed), "--base", str(base)]
    line += ["--runs", str(tmp_path / "runs"), "--tokens", "2", "--tries", "2", "--steps", "1", "--fpr", "0.5"]
    asked = ["--prompt", "red dog", "dog", "--concept", "dog", "--anchor", "cat", "--controls", "2"]
    assert main([*line, *asked]) == 0
    (run,) = (tmp_path / "runs").glob("audit-unlearn-attack-random-tokens-*")
    found = UnlearnAttacks.load(run)
    assert found is not None
    assert [one.prompt for one in found.prompts] == ["red dog", "dog"]
    assert found.statement in " ".join(capsys.readouterr().out.split())
    names = {path.relative_to(run / "images").as_posix() for path in (run / "images").rglob("*.png")}
    attacked = {f"attacked/{k:03d}.png" for k, one in enumerate(found.prompts) if one.success is not None}
    assert names == {"unattacked/000.png", "unattacked/001.png", *attacked}
    page = (run / "report.html").read_text()
    assert "Attack on an unlearned model" in page
    assert page.count("<img") == len(names) + 1  # of the enlarged picture
    assert "evidence of “dog” in a picture" in page
    for words, said in {
        "": "there is no prompt to attack",
        "--prompt a b": "give --concept, the words that the pictures of all these prompts are judged for",
        "--prompt dog --anchor dog": "is the concept and its own anchor",
        "--prompt dog --judge classifier": "label, the concept's class, is given with --judge classifier",
        "--prompt dog --label twemoji": "label, the concept's class, is given with --judge classifier",
        "--prompt dog --judge classifier --label twemoji --concept dog": "leave it out with --judge classifier",
        "--prompt dog --judge classifier --label cubist --controls 2": "artist has no class 'cubist'; choose one of",
        "--prompt dog --controls 0": "controls must be at least 1",
        "--prompt dog --fpr 0.1 --controls 3": "for which 9 are needed",
    }.items():
        assert main([*line, *words.split()]) == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_classifier_judges_where_it_is_asked_to(tmp_path, capsys):
    base, changed = tiny.pair_folders(tmp_path / "models")
    line = ["audit", "unlearn-attack", "seeds", "--model", str(changed), "--base", str(base), "--runs", str(tmp_path)]
    judged = [
        "--judge",
        "classifier",
        "--label",
        "noto",
        "--tries",
        "1",
        "--steps",
        "1",
        "--fpr",
        "0.5",
        "--shown",
        "0",
    ]
    assert main([*line, *judged, "--prompt", "red dog", "dog", "--controls", "1"]) == 0
    (run,) = tmp_path.glob("audit-unlearn-attack-seeds-*")
    found = UnlearnAttacks.load(run)
    assert found is not None
    assert found.judge.startswith("the classifier's log-odds of artist “noto”, above ")
    assert "0 of 1 of the original's pictures of the anchors exceed (asked: 50%)" in found.judge
    assert "classifier" in (run / "run.json").read_text()
