"""`intaglio discover [METHOD] TABLE [--latent]`: the causal graph of a table, with probabilities."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro
from tyro.conf import Positional

from intaglio.commands.causal.words import kinds_from, missing_from, pairs_from, tiers_from
from intaglio.commands.kit.cluster_inputs import OnCluster
from intaglio.commands.kit.console import command_line, note, quiet, say, say_json, shown
from intaglio.commands.kit.dry_run import DryRun
from intaglio.errors import BadInput
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from intaglio.causal.family import Discoverer
    from intaglio.causal.graphs.distances import Comparison, PagComparison
    from intaglio.causal.graphs.graph import Graph
    from intaglio.causal.graphs.knowledge import Knowledge
    from intaglio.causal.results.discovery import Discovery
    from intaglio.causal.tables.table import Table
    from intaglio.causal.tables.table_reading import TableReading
    from intaglio.runs.run import Run

    AnyComparison = Comparison | PagComparison

M = TypeVar("M")
RESULT = "result"
COLUMNS = "columns.json"
SCORES = "scores.json"


@dataclass(frozen=True, kw_only=True)
class Discover(DryRun, OnCluster, Generic[M]):
    """Find the causal graph of a table: what causes what, and where the data cannot tell.

    The methods assume no cycles, no effects that cancel each other exactly, and independent rows; without --latent also
    no hidden common causes. The same command again resumes a killed one.
    """

    data: Annotated[Positional[Path], tyro.conf.arg(metavar="TABLE")]
    """The table: CSV with a line of names (also tabs or semicolons, also gzipped), Parquet, or a workbook (.xlsx,
    .xls, .ods); it may be a pipe."""
    method: tyro.conf.OmitArgPrefixes[M]
    latent: bool = False
    """Allow for hidden common causes: the graph is a PAG. Where no method is named, this takes one that gives a PAG."""
    kinds: tuple[str, ...] = ()
    """Kinds of columns where the values suggest a wrong one, such as month=nominal: continuous, ordinal, binary,
    nominal, or all the levels of the column in their order, such as "mood=bad<ok<good"."""
    missing: tuple[str, ...] = ()
    """Codes that mean a missing cell, in a column such as age=-999, or in every column such as -999."""
    encoding: str = ""
    """Encoding of a text file, such as latin-1 or cp1252; else UTF-8, or UTF-16 with its mark."""
    thousands: Literal["", ",", "."] = ""
    """Sign between thousands: a comma as in 1,200.5, or a point as in 1.200,5, where the comma is the decimal sign."""
    sheet: str = ""
    """Sheet of a workbook; else its first."""
    without: tuple[str, ...] = ()
    """Columns to leave out, such as identifiers and dates."""
    texts: tuple[str, ...] = ()
    """Columns in which NA, null and the like are names and no missing cells, such as country."""
    allow_wide: bool = False
    """Accept more than 150 columns, for which no method has been measured."""
    knowledge: Path | None = None
    """A TOML or JSON file of background knowledge: required, forbidden, adjacent, apart (pairs), tiers (groups)."""
    require: tuple[str, ...] = ()
    """Arrows that are known to be there, such as "rain->wet"; quote them, since a shell has its own use of >."""
    forbid: tuple[str, ...] = ()
    """Arrows that are known not to be there, such as "wet->rain"."""
    tiers: str = ""
    """Groups of columns in temporal order, such as "age,sex;smoking;cancer": none causes an earlier one."""
    rows: int = 100_000
    """Most rows that are used; of a longer table, that many are sampled by the seed."""
    truth: Path | None = None
    """The true graph to compare with: .gml, .dot, .txt (DAGitty), .csv (matrix or list of edges) or .json. For a method
    that gives a PAG, variables that are no columns are hidden ones."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("--output",))] = None
    """A further folder for the graph in every format; the run's own folder has it in any case."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""
    json: bool = False
    """Print the graph with all its numbers as JSON instead of text."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, not {self.rows}")

    def check_early(self) -> None:
        """Raises `BadInput` for a file that is no table, and for a column that it does not name."""
        from intaglio.causal.tables.csv_reader import header_names
        from intaglio.causal.tables.table import check_known

        reading, kinds = self._reading(), kinds_from(self.kinds)
        names = header_names(self.data, reading)
        if names is None:
            return
        asked = {
            "kinds": kinds,
            "without": self.without,
            "texts": self.texts,
            "missing": [name for name, _ in reading.missing if name],
            "tiers": [name for group in tiers_from(self.tiers) for name in group],
        }
        for flag, columns in asked.items():
            check_known(names, columns, flag)
        for flag, pairs in (("--require", self.require), ("--forbid", self.forbid)):
            pairs_from(pairs, names, flag)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.causal.results.discovery import Discovery
        from intaglio.causal.tables.table import Table

        self._check_latent()
        if self.cluster is not None and (why := self._method.undivided()):
            raise BadInput(f"a cluster has nothing to do for {self._method.name}: {why}; leave --cluster out")
        kinds = kinds_from(self.kinds)
        table = Table.load(
            self.data,
            kinds=kinds,
            most_rows=self.rows,
            seed=getattr(self.method, "seed", 0),
            without=self.without,
            texts=self.texts,
            context=getattr(self.method, "context", ""),
            allow_wide=self.allow_wide,
            reading=self._reading(),
        )
        knowledge, truth = self._knowledge(table), self._truth(table)
        if self.dry_run and self.ends_with(self._method.planned(table, knowledge=knowledge)):
            return 0
        with self._open(table, kinds, knowledge, truth) as run:
            folder, warned = run.folder or Path(), run.status != "done" and not quiet()
            if run.status != "done":
                for warning in table.warnings:
                    run.warn(warning)
                if self._method.plans_quickly(table):
                    self.begin(run, self._method.planned(table, knowledge=knowledge))
                self._discover(table, knowledge, truth, run)
            self._method.forget(run)
            found = Discovery.load(folder / RESULT)
        if self.out is not None:
            found.save(self.out)
        self._print_result(found, None if truth is None else found.score(truth), folder, warn=not warned)
        return 0

    def _discover(self, table: "Table", knowledge: "Knowledge", truth: "Graph | None", run: "Run") -> None:
        from intaglio.files import atomic_write
        from intaglio.runs.plain_json import to_json

        folder = run.folder or Path()
        self.say_spread(run)
        with self.spread():
            found = self._method(table, knowledge=knowledge, run=run)
        for warning in found.warnings:
            run.warn(warning)
        scores = None if truth is None else found.score(truth).figures()
        atomic_write(folder / COLUMNS, to_json(columns(table), indent=1) + "\n")
        if scores is not None:
            atomic_write(folder / SCORES, to_json(scores, indent=1) + "\n")
        found.save(folder / RESULT)
        run.finish(
            {
                "kind": found.graph.kind,
                "variables": len(found.names),
                "edges": len(found.edges),
                **edge_counts(found),
                "colliders": len(found.graph.colliders),
                "rows": found.rows,
                "conflicts": found.conflicts,
                "fallback": found.fallback,
                "ood_score": found.ood_score,
                **(scores or {}),
                "graph_in": RESULT,
            },
            (RESULT, COLUMNS),
        )

    def _reading(self) -> "TableReading":
        from intaglio.causal.tables.table_reading import TableReading

        return TableReading(self.encoding, self.thousands, self.sheet, missing_from(self.missing))

    def _check_latent(self) -> None:
        method = self._method
        if self.latent and method.gives != "PAG":
            latent = VERBS["discover"].by_flag["--latent"]
            raise BadInput(
                f"{method.name} does not allow for hidden common causes, as --latent asks; leave {method.name} out, or "
                f"name {latent} in its place"
            )

    def _knowledge(self, table: "Table") -> "Knowledge":
        from dataclasses import replace

        from intaglio.causal.graphs.knowledge import Knowledge

        known = Knowledge() if self.knowledge is None else Knowledge.load(self.knowledge)
        tiers = tiers_from(self.tiers)
        if tiers and known.tiers:
            raise BadInput(f"--tiers and {self.knowledge} both give tiers; keep one of them")
        known = replace(
            known,
            required=(*known.required, *pairs_from(self.require, table.all_names, "--require")),
            forbidden=(*known.forbidden, *pairs_from(self.forbid, table.all_names, "--forbid")),
            tiers=tiers or known.tiers,
        )
        known.check(table.all_names, hidden_causes=self._method.gives == "PAG")
        return known

    def _truth(self, table: "Table") -> "Graph | None":
        from intaglio.causal.formats.graph_files import read_graph
        from intaglio.causal.graphs.admg import pag_over

        if self.truth is None:
            return None
        names = self._method.variables(table)
        truth = read_graph(self.truth, names)
        other = set(truth.names) ^ set(names)
        if self._method.gives == "PAG" and truth.kind in ("DAG", "MAG"):
            other -= set(truth.names)  # these are hidden causes
        if other:
            lacking = min(other)
            where = self.truth if lacking in truth.names else self.data
            raise BadInput(f"{lacking} is only in {where}; the true graph must be over the columns of the table")
        if self._method.gives == "PAG":
            return pag_over(truth, names)
        truth.require_dags()
        return truth

    def _open(self, table: "Table", kinds: dict[str, str], knowledge: "Knowledge", truth: "Graph | None") -> "Run":
        from intaglio.files import file_hash
        from intaglio.runs.run import Run

        method = self._method
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(method).items()}
        device, seed = str(settings.pop("device", "cpu")), getattr(method, "seed", None)
        inputs: dict[str, dict[str, str]] = {
            "table": {
                "path": str(self.data),
                "sha256": table.pipe_hash or file_hash(self.data),
                "content": table.content_hash,
            },
            **method.weights(),
        }
        if self.truth is not None and truth is not None:
            inputs["truth"] = {"path": str(self.truth), "sha256": file_hash(self.truth)}
        known = {name: value for name, value in asdict(knowledge).items() if value}
        own = {"rows": self.rows, "kinds": kinds, "without": list(self.without), "knowledge": known}
        given = {
            "texts": list(self.texts),
            "missing": list(self.missing),
            "encoding": self.encoding,
            "thousands": self.thousands,
            "sheet": self.sheet,
        }
        own |= {name: value for name, value in given.items() if value}
        return Run.open(
            self.runs,
            "discover",
            method.name,
            {**settings, **own},
            inputs,
            seed=seed,
            device=device,
            command=command_line(),
            progress=shown(),
        )

    @property
    def _method(self) -> "Discoverer":
        method: Any = self.method
        return method

    def _print_result(self, found: "Discovery", scores: "AnyComparison | None", folder: Path, warn: bool) -> None:
        """Prints the result; with `warn` also the warnings, which the run may have shown already."""
        from intaglio.report import write_report

        report = write_report(folder)
        if self.json:
            compared = None if scores is None else scores.figures()
            say_json({**found.to_dict(), "scores": compared, "folder": str(folder)})
            return
        say(found.summary(warnings=warn))
        if scores is not None:
            say(f"\n{score_words(scores)}")
        say()
        note(f"graph as JSON, CSV, GML, DOT, DAGitty and SVG: {self.out or folder / RESULT}")
        say(str(report))


def columns(table: "Table") -> dict[str, Any]:
    """Kind, levels and missing share of each column, in the order of the table, for `columns.json`."""
    import numpy as np

    indices = {name: k for k, name in enumerate(table.names)}
    twins = {name: group[0] for group in table.duplicates for name in group[1:]}
    rows = []
    for name in table.all_names:
        k = indices.get(name)
        if k is None:
            why = f"the same as {twins[name]}" if name in twins else "constant"
            rows.append({"name": name, "kind": None, "excluded": why})
            continue
        missing = float(np.isnan(table.values[:, k]).mean()) if len(table.values) else 0.0
        rows.append(
            {
                "name": name,
                "kind": table.kinds[k],
                "excluded": None,
                "levels": list(table.levels[k]),
                "missing": missing,
            }
        )
    return {"columns": rows, "rows_seen": table.rows_seen, "rows": len(table.values), "sha256": table.content_hash}


def edge_counts(found: "Discovery") -> dict[str, int]:
    """Numbers of edges by their marks: directed, and undirected or, in a PAG, by a hidden cause and open."""
    count = len(found.edges)
    directed, hidden = (sum(edge.mark == mark for edge in found.edges) for mark in ("-->", "<->"))
    if found.graph.kind == "PAG":
        return {"directed": directed, "bidirected": hidden, "open": count - directed - hidden}
    return {"directed": directed, "undirected": count - directed}


SCORE_WORDS = {
    "shd": "SHD {}",
    "shd_marks": "SHD of marks {}",
    "skeleton_f1": "F1 of the skeleton {:.3f}",
    "orientation_f1": "of directed edges {:.3f}",
    "collider_f1": "of colliders {:.3f}",
    "pag_f1": "of edges with both marks {:.3f}",
    "arrowhead_f1": "of arrowheads {:.3f}",
    "tail_f1": "of tails {:.3f}",
}
"""Figures of a comparison in words, by their names."""


def score_words(scores: "AnyComparison") -> str:
    """The comparison with the true graph in one line of text."""
    told = {name: SCORE_WORDS[name].format(value) for name, value in scores.figures().items()}
    distances, shares = ([told[name] for name in told if name.startswith("shd") == apart] for apart in (True, False))
    return f"Against the truth: {', '.join(distances)}; {', '.join(shares)}."
