"""`intaglio discover` as a person uses it: from a CSV file to a folder, a table of edges and a report."""

import json
import shutil

import numpy as np
import pytest

from found_graphs import found_graph, found_pag
from intaglio import cli
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.methods.sicl.method import SiCL
from intaglio.causal.results.discovery import Discovery
from intaglio.commands.causal.words import kinds_from, pairs_from, tiers_from
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.verbs import VERBS

ARROWS = [("rain", "-->", "wet"), ("sprinkler", "-->", "wet"), ("wet", "-->", "slip")]
CALLS: list[dict] = []


def collided(self, table, *, kinds=None, knowledge, run):
    """What the method would say of every table; the calls are kept."""
    CALLS.append({"table": table, "knowledge": knowledge, "settings": self})
    graph = Graph.of("CPDAG", table.all_names, ARROWS)
    return found_graph(
        graph=graph,
        rows=len(table.values),
        warnings=("rather few rows",),
        isolated=table.isolated,
        duplicates=table.duplicates,
        ood_score=0.4,
        ood_reasons=("rows 60, below 100",),
    )


@pytest.fixture
def search(monkeypatch):
    """The method replaced by `collided`."""
    CALLS.clear()
    monkeypatch.setattr(SiCL, "__call__", collided)


def write_table(path):
    random = np.random.default_rng(1)
    rain, sprinkler = random.normal(size=(2, 60))
    wet = rain + sprinkler + 0.3 * random.normal(size=60)
    slip = wet + 0.5 * random.normal(size=60)
    season = random.choice(["dry", "monsoon", "cool"], 60)
    rows = [f"{a},{b},{c},{d},{e},1.5" for a, b, c, d, e in zip(rain, sprinkler, wet, slip, season, strict=True)]
    path.write_text("\n".join(["rain,sprinkler,wet,slip,season,gravity", *rows]) + "\n")
    return path


@pytest.fixture
def discover(tmp_path, capsys):
    table = write_table(tmp_path / "garden.csv")

    def run(*words, lead=("discover",), flags=("--quiet",)):
        code = cli.main([*lead, str(table), "--runs", str(tmp_path / "runs"), *flags, *words])
        return code, *capsys.readouterr()

    return run


def only_run(tmp_path):
    (folder,) = (tmp_path / "runs").glob("discover-*")
    return folder


def test_from_a_table_to_its_graph_and_report(discover, tmp_path):
    code, out, err = discover("--subsamples", "2")
    assert (code, err) == (0, "")
    folder = only_run(tmp_path)
    assert folder.name.startswith("discover-sicl-")
    assert out.splitlines()[0].startswith("CPDAG of 6 variables")
    assert out.splitlines()[-1] == str(folder / "report.html")
    found = Discovery.load(folder / "result")
    assert found.names == ("rain", "sprinkler", "wet", "slip", "season", "gravity")
    assert found.isolated == ("gravity",)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    assert set(record["inputs"]) >= {"table"}
    assert not list((folder / "states").glob("*")) if (folder / "states").exists() else True
    assert len(record["inputs"]["table"]["sha256"]) == 64
    assert record["summary"]["edges"] == len(found.edges)
    read = json.loads((folder / "columns.json").read_text())["columns"]
    assert [column["name"] for column in read] == list(found.names)
    assert [column["kind"] for column in read][-2:] == ["nominal", None]
    assert read[-1]["excluded"] == "constant"
    assert set(read[4]["levels"]) == {"cool", "dry", "monsoon"}


def test_what_was_found_is_told_with_its_warnings(search, discover, tmp_path):
    code, out, _ = discover()
    assert code == 0
    assert "rain --> wet" in out
    assert "1 collider;" in out.splitlines()[0]
    assert "Warning: rather few rows" in out
    assert "rows 60, below 100" in out
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert "rather few rows" in record["warnings"]
    assert any("gravity" in warning for warning in record["warnings"])
    assert (record["summary"]["directed"], record["summary"]["colliders"], record["summary"]["ood_score"]) == (
        3,
        1,
        0.4,
    )


def test_warnings_are_shown_once_while_it_works_and_told_again_afterwards(search, discover):
    _, out, err = discover(flags=())
    assert "rather few rows" in err
    assert "rather few rows" not in out
    assert "graph as JSON" in err
    _, out, _ = discover(flags=())
    assert "rather few rows" in out


def test_the_method_may_be_named_or_not(search, discover, tmp_path):
    first = discover()
    assert discover(lead=("discover", "sicl")) == first
    assert len(CALLS) == 1, "it is the same run"
    only_run(tmp_path)


@pytest.fixture
def latent_search(monkeypatch):
    """The method that `--latent` takes, replaced by one that finds a PAG of these columns."""

    def found(self, table, *, kinds=None, knowledge, run):
        CALLS.append({"table": table, "knowledge": knowledge, "settings": self})
        return found_pag(graph=Graph.of("PAG", table.all_names, [("rain", "o->", "wet"), ("slip", "<->", "wet")]))

    CALLS.clear()
    name = VERBS["discover"].by_flag["--latent"]
    monkeypatch.setattr(load(VERBS["discover"].methods[name].target), "__call__", found)
    return name


def test_a_flag_asks_for_hidden_common_causes_wherever_it_stands(latent_search, discover, tmp_path):
    code, out, _ = first = discover("--latent", "--require", "rain->wet", "--tiers", "rain;wet")
    assert code == 0
    assert out.startswith("PAG of 6 variables: 2 edges")
    assert "rain o-> wet" in out
    assert "a o-> b: b is no cause of a" in out
    assert CALLS[0]["settings"].name == latent_search
    assert CALLS[0]["knowledge"].required == (("rain", "wet"),)
    assert CALLS[0]["knowledge"].tiers == (("rain",), ("wet",))
    known = ("--require", "rain->wet", "--tiers", "rain;wet")
    assert discover(*known, lead=("discover", "--latent")) == first
    assert discover(*known, lead=("discover", latent_search)) == first
    assert discover(*known, "--latent", lead=("discover", latent_search)) == first
    assert len(CALLS) == 1, "they are the same run"
    assert "○→" in (only_run(tmp_path) / "report.html").read_text(encoding="utf-8")


def test_a_configuration_file_asks_for_hidden_common_causes_and_a_flag_takes_it_back(
    latent_search, search, discover, tmp_path
):
    (tmp_path / "settings.toml").write_text("latent = true\n")
    config = ("--config", str(tmp_path / "settings.toml"))
    assert discover(*config)[1].startswith("PAG")
    assert discover("--no-latent", *config)[1].startswith("CPDAG")
    assert discover("--latent", "--no-latent")[1].startswith("CPDAG")
    (tmp_path / "settings.toml").write_text("latent = [")
    assert "is not a TOML file" in discover(*config)[2]


def test_a_run_with_hidden_common_causes_is_made_again_by_its_own_command(latent_search, discover, tmp_path, capsys):
    discover("--latent")
    words = json.loads((only_run(tmp_path) / "run.json").read_text())["command"]
    assert words[:2] == ["discover", latent_search]
    shutil.rmtree(only_run(tmp_path) / "result")
    assert cli.main([*words, "--quiet"]) == 0
    assert len(CALLS) == 2
    assert Discovery.load(only_run(tmp_path) / "result").graph.kind == "PAG"
    capsys.readouterr()


@pytest.mark.parametrize("method", ["sicl", "cd-nod"])
def test_a_method_without_hidden_common_causes_does_not_go_with_the_flag(discover, tmp_path, method):
    code, out, err = discover("--latent", lead=("discover", method))
    assert (code, out) == (2, "")
    latent = VERBS["discover"].by_flag["--latent"]
    assert f"{method} does not allow for hidden common causes, as --latent asks; leave {method} out" in err
    assert f"or name {latent} in its place" in err
    assert not list((tmp_path / "runs").glob("*")), "nothing was begun"


def test_the_methods_that_flags_take_are_what_the_flags_say(capsys):
    for flag, name in VERBS["discover"].by_flag.items():
        assert load(VERBS["discover"].methods[name].target).gives == "PAG", flag
    assert cli.main(["discover", "--help"]) == 0
    assert f"Without a method: sicl; with --latent {name}." in capsys.readouterr().out


def test_a_misspelt_method_is_no_table(discover):
    code, _, err = discover(lead=("discover", "scil"))
    assert code == 2
    assert "discover has no method 'scil'; did you mean sicl?" in err


def test_the_same_command_again_only_tells_and_another_table_is_another_run(search, discover, tmp_path):
    first = discover()
    stored = (only_run(tmp_path) / "result" / "graph.json").read_bytes()
    assert discover() == first
    assert len(CALLS) == 1
    assert (only_run(tmp_path) / "result" / "graph.json").read_bytes() == stored
    table = tmp_path / "garden.csv"
    table.write_text(table.read_text().replace("monsoon", "rainy"))
    discover()
    assert len(CALLS) == 2
    assert len(list((tmp_path / "runs").glob("discover-*"))) == 2


def test_a_run_that_failed_is_done_by_the_same_command(search, discover, tmp_path, monkeypatch):
    monkeypatch.setattr(Discovery, "save", lambda self, folder: (_ for _ in ()).throw(KeyboardInterrupt))
    assert discover()[0] == 130
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["status"] == "unfinished"
    monkeypatch.undo()
    monkeypatch.setattr(SiCL, "__call__", collided)
    assert discover()[0] == 0
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["status"] == "done"


def test_kinds_rows_and_settings_reach_the_method(search, discover, tmp_path):
    # Numbers of three levels are ordinal by themselves.
    text = (tmp_path / "garden.csv").read_text()
    for place, name in enumerate(("cool", "dry", "monsoon")):
        text = text.replace(name, str(place))
    (tmp_path / "garden.csv").write_text(text)
    code, _, _ = discover("--kinds", "season=nominal", "--rows", "50", "--seed", "9")
    assert code == 0
    (call,) = CALLS
    table = call["table"]
    assert dict(zip(table.names, table.kinds, strict=True))["season"] == "nominal", (
        "numbers of three levels are ordinal by themselves"
    )
    assert len(table.values) == 50
    assert call["settings"].seed == 9


def test_columns_are_left_out_on_request(search, discover, tmp_path):
    assert discover("--without", "gravity", "season")[0] == 0
    assert CALLS[0]["table"].all_names == ("rain", "sprinkler", "wet", "slip")
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["settings"]["without"] == ["gravity", "season"]
    discover("--without", "season")
    assert len(CALLS) == 2, "other columns are another run"


def test_very_many_columns_are_taken_only_on_request(search, discover, monkeypatch):
    monkeypatch.setattr("intaglio.causal.tables.table.MAX_COLUMNS", 4)
    code, _, err = discover()
    assert code == 2
    assert "5 columns vary" in err
    assert discover("--allow-wide")[0] == 0


def test_knowledge_from_flags_and_a_file_is_put_together(search, discover, tmp_path):
    (tmp_path / "known.toml").write_text('required = [["wet", "slip"]]\n')
    code, _, _ = discover(
        "--knowledge",
        str(tmp_path / "known.toml"),
        "--require",
        "rain->wet",
        "--forbid",
        "slip -> rain",
        "slip→wet",
        "--tiers",
        "season; rain, sprinkler",
    )
    assert code == 0
    known = CALLS[0]["knowledge"]
    assert known.required == (("wet", "slip"), ("rain", "wet"))
    assert known.forbidden == (("slip", "rain"), ("slip", "wet"))
    assert known.tiers == (("season",), ("rain", "sprinkler"))
    record = json.loads((only_run(tmp_path) / "run.json").read_text())["settings"]["knowledge"]
    assert record["required"] == [["wet", "slip"], ["rain", "wet"]]
    assert "adjacent" not in record


def test_two_sorts_of_tiers_are_refused(discover, tmp_path):
    (tmp_path / "known.toml").write_text('tiers = [["rain"], ["wet"]]\n')
    code, _, err = discover("--knowledge", str(tmp_path / "known.toml"), "--tiers", "rain;wet")
    assert code == 2
    assert "both give tiers" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--kinds", "season"), "--kinds takes COLUMN=KIND"),
        (("--kinds", "season=nominl"), "nominl"),
        (("--without", "seasons"), "seasons"),
        (("--kinds", "saison=nominal"), "saison"),
        (("--require", "rain"), '--require takes arrows such as "rain->wet"'),
        (("--forbid", "rian->wet"), "there is no column 'rian'; did you mean rain?"),
        (("--rows", "0"), "rows must be at least 1"),
        (("--truth", "nowhere.gml"), "nowhere.gml does not exist"),
    ],
)
def test_a_wrong_word_is_one_sentence(discover, words, sentence, tmp_path):
    code, out, err = discover(*words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert not list((tmp_path / "runs").glob("*")), "nothing was begun"


def test_a_missing_table_is_one_sentence(tmp_path, capsys):
    assert cli.main(["discover", str(tmp_path / "none.csv"), "--runs", str(tmp_path)]) == 2
    assert "none.csv" in capsys.readouterr().err


def truth(tmp_path, *edges, names=("rain", "sprinkler", "wet", "slip", "season", "gravity")):
    from intaglio.causal.formats.graph_texts import to_gml

    (tmp_path / "truth.gml").write_text(to_gml(Graph.of("DAG", names, edges)))
    return str(tmp_path / "truth.gml")


def test_a_known_truth_gives_scores(search, discover, tmp_path):
    code, out, _ = discover("--truth", truth(tmp_path, *ARROWS[:2]))
    assert code == 0
    assert "Against the truth: SHD 1; F1 of the skeleton 0.800, of directed edges 0.800, of colliders 1.000." in out
    folder = only_run(tmp_path)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores == {"shd": 1, "skeleton_f1": 0.8, "orientation_f1": 0.8, "collider_f1": 1.0}
    assert json.loads((folder / "run.json").read_text())["summary"]["shd"] == 1
    assert "Against the true graph" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_truth_over_other_columns_is_refused(discover, tmp_path):
    code, _, err = discover("--truth", truth(tmp_path, *ARROWS, names=("rain", "sprinkler", "wet", "slip", "mud")))
    assert code == 2
    assert "is only in" in err


def test_json_is_all_of_it(search, discover, tmp_path):
    code, out, _ = discover("--json", "--truth", truth(tmp_path, *ARROWS))
    assert code == 0
    plain = json.loads(out)
    assert plain["graph"]["edges"][0] == ["rain", "-->", "wet"]
    assert np.array(plain["adjacent"]).shape == (6, 6)
    assert plain["scores"]["shd"] == 0
    assert plain["folder"] == str(only_run(tmp_path))


def test_the_graph_also_goes_where_it_is_asked_to(search, discover, tmp_path):
    code, _, _ = discover("--output", str(tmp_path / "mine"))
    assert code == 0
    files = {path.name for path in (tmp_path / "mine").iterdir()}
    assert files == {path.name for path in (only_run(tmp_path) / "result").iterdir()}
    shutil.rmtree(tmp_path / "mine")
    discover("--output", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "graph.svg").is_file(), "also from a run that was done before"


def test_the_command_of_a_run_makes_it_again(search, discover, tmp_path, monkeypatch, capsys):
    discover("--kinds", "season=nominal", "--require", "rain->wet")
    words = json.loads((only_run(tmp_path) / "run.json").read_text())["command"]
    monkeypatch.chdir(tmp_path.parent)
    assert cli.main([*words, "--quiet"]) == 0
    assert len(CALLS) == 1
    only_run(tmp_path)
    capsys.readouterr()


def test_help_says_how_it_is_called(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(["discover", "--help"]) == 0
    assert "usage: intaglio discover [METHOD] TABLE [flags]" in capsys.readouterr().out
    assert cli.main(["discover", "sicl", "--help"]) == 0
    assert "TABLE" in capsys.readouterr().out


def test_words_about_columns():
    assert kinds_from(["a=b=nominal"]) == {"a=b": "nominal"}
    assert pairs_from(["a->b->c"], ("a", "b->c"), "--require") == (("a", "b->c"),)
    assert pairs_from(["a --> b"], ("a", "b"), "--require") == (("a", "b"),)
    assert tiers_from(" a , b ;; c;") == (("a", "b"), ("c",))
    assert tiers_from("") == ()
    with pytest.raises(BadInput, match="takes arrows"):
        pairs_from(["a-b"], ("a", "b"), "--require")


def test_a_method_that_allows_for_hidden_causes_is_measured_against_a_truth_that_has_them(discover, tmp_path):
    (tmp_path / "truth.csv").write_text(
        "source,target\nweather,rain\nweather,sprinkler\nrain,wet\nsprinkler,wet\nwet,slip\n"
    )
    words = ("--without", "season", "gravity", "--restarts", "2", "--steps", "10", "--stages", "3", "--json")
    code, out, err = discover(*words, "--truth", str(tmp_path / "truth.csv"), lead=("discover", "abic"))
    assert code == 0, err
    told = json.loads(out)
    assert told["graph"]["kind"] == "PAG"
    assert set(told["scores"]) == {"shd", "shd_marks", "skeleton_f1", "pag_f1", "arrowhead_f1", "tail_f1"}
    folder = next((tmp_path / "runs").iterdir())
    assert Discovery.load(folder / "result").graph.kind == "PAG"
    summary = json.loads((folder / "run.json").read_text())["summary"]
    assert summary["directed"] + summary["bidirected"] + summary["open"] == summary["edges"]
    lacking = tmp_path / "lacking.dot"
    lacking.write_text("digraph {weather -> rain}")
    code, _, err = discover(*words, "--truth", str(lacking), lead=("discover", "abic"))
    assert code == 2
    assert "the true graph must be over the columns" in err


def test_a_truth_with_hidden_variables_is_refused_where_none_are_allowed_for(discover, tmp_path, search):
    (tmp_path / "truth.csv").write_text("source,target\nweather,rain\nrain,wet\nsprinkler,wet\nwet,slip\n")
    code, _, err = discover("--truth", str(tmp_path / "truth.csv"))
    assert code == 2
    assert "weather is only in" in err
