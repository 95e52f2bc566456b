"""`intaglio bench latent`: a step of ABIC beside its plain formulation, CD-NOD and SPOT beside their peers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from intaglio.bench.discover.bench import own_fingerprint
from intaglio.bench.discover.entries import Entry
from intaglio.bench.discover.published_networks import networks_folder
from intaglio.bench.latent.latent_plan import LatentPlan
from intaglio.bench.latent.latent_tables import latent_lines
from intaglio.bench.latent.pag_entries import pag_entries
from intaglio.bench.latent.pag_tables import Confounding, PagCell, network_cells, simulated_cells
from intaglio.errors import BadInput
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

LatentSuite = Literal["steps", "changing", "simulated", "networks"]
SUITES: tuple[LatentSuite, ...] = ("steps", "changing", "simulated", "networks")
QUICK_SUITES: tuple[LatentSuite, ...] = ("steps", "changing", "simulated")
QUICK_COLUMNS, QUICK_REPEATS, QUICK_TABLES = (5, 10), 3, 2
CONFOUNDING: tuple[Confounding, ...] = ("double-arrows", "hidden-nodes")
VARIABLES, TABLE_ROWS, GRAPHS, LIMIT_S = (10, 20, 50, 100), (500, 1000, 5000), 10, 600.0
QUICK_VARIABLES, QUICK_TABLE_ROWS, QUICK_GRAPHS, QUICK_LIMIT_S = (10, 20), (1000,), 1, 30.0
NETWORKS = ("ecoli70", "magic-niab", "magic-irri", "arth150")


@dataclass(frozen=True)
class LatentBench:
    """A step of ABIC beside its plain formulation, CD-NOD and SPOT beside their peers.

    A step is the value of least squares + α h of the ancestral class with its gradients; a round begins with what its
    steps share, the inverse of the errors' covariance or all pseudo-variables. Times are those of one restart: here all
    restarts take a step at once, in the plain formulation one after another. Times are medians, ratios those of the
    medians; `largest_difference` is that of the gradients, over the largest entry.

    Tables whose mechanisms change are searched by CD-NOD, by PC on all rows with a coin for what it leaves open, and by
    causal-learn's CD-NOD where it is installed.

    Tables with known PAGs, simulated or from published Gaussian networks some of whose nodes are hidden, are searched
    by SPOT, by SPOT with its other posterior, without one and with half of its guidance, by controls whose posterior
    says nothing (`spot-constant`, `spot-random`), by ABIC, by FCI at two levels and by PC, of which only the skeleton
    counts; each package in a process of its own, on one thread. Figures are those of arXiv 2406.10537 over PAGs: F1 of
    the skeleton, of edges with both marks, of arrowheads, of tails; and SHD, the pairs that differ. A method without an
    answer counts as the graph without edges. `fci_` figures are of the level with the higher PAG F1. Posteriors alone
    are judged by AUROC, AUPRC and expected calibration error over all pairs.
    """

    quick: bool = False
    """5 and 10 columns, 3 timings, 2 tables of each kind that changes; SPOT, ABIC and FCI on two tables each of 10 and
    20 variables, 30 seconds a search: at most ten minutes."""
    suites: tuple[LatentSuite, ...] = ()
    """Parts of the bench: steps, changing, simulated, networks; none takes all (without networks with --quick)."""
    columns: tuple[int, ...] = (10, 20, 50)
    """Numbers of columns of the steps, each 2 or more."""
    rows: int = 1000
    """Number of rows of the steps, 2 or more."""
    restarts: int = 5
    """Restarts that take a step at once, 1 or more."""
    repeats: int = 20
    """Timings of each, 1 or more."""
    tables: int = 20
    """Tables of each kind whose mechanisms change, 0 or more; 0 leaves CD-NOD out."""
    methods: tuple[str, ...] = ()
    """Names of methods that search tables with known PAGs; none takes all that are installed."""
    variables: tuple[int, ...] = ()
    """Numbers of variables of simulated tables with known PAGs, each 2 or more; none takes 10, 20, 50 and 100 (10 and
    20 with --quick)."""
    table_rows: tuple[int, ...] = ()
    """Numbers of rows of tables with known PAGs, each 10 or more; none takes 500, 1000 and 5000 (1000 with --quick)."""
    confounding: tuple[Confounding, ...] = ()
    """Hidden common causes of simulated tables: none, double-arrows (5 to 20% of all edges), many-double-arrows (30 to
    40%), hidden-nodes; none given takes double-arrows and hidden-nodes."""
    networks: tuple[str, ...] = ()
    """Published Gaussian networks; none takes ecoli70, magic-niab, magic-irri and arth150."""
    graphs: int | None = None
    """Tables with known PAGs of each kind and size, 1 or more; none takes 10 (1 with --quick)."""
    limit: float | None = None
    """Seconds above 0 for one search; none takes 600 (30 with --quick). SPOT and ABIC end by then with what they have;
    others are killed, and after three times not asked about as many variables any more."""
    seed: int = 0
    """Seed of the values and of all tables."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        for name, least in (("rows", 2), ("restarts", 1), ("repeats", 1), ("tables", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not self.columns or min(self.columns) < 2:
            raise ValueError(f"columns must be numbers of 2 or more, not {self.columns}")
        for name, least in (("variables", 2), ("table_rows", 10)):
            if (values := getattr(self, name)) and min(values) < least:
                raise ValueError(f"{name} must be numbers of {least} or more, not {values}")
        if self.graphs is not None and self.graphs < 1:
            raise ValueError(f"graphs must be at least 1, not {self.graphs}")
        if self.limit is not None and not 0 < self.limit < float("inf"):
            raise ValueError(f"limit must be above 0 seconds, not {self.limit}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measures the suites; the figures by name, those of each number of columns under it."""
        plan = self._plan()
        with Run.open(
            self.runs,
            "bench",
            "latent",
            plan.settings(),
            {"causal": {"path": "intaglio.causal", "sha256": own_fingerprint()}} if plan.searches else {},
            seed=self.seed,
            device="cpu",
            command=command,
            progress=progress,
        ) as run:
            if run.status != "done":
                plan.measure(run, self.seed)
                run.finish(without_nan(plan.figures(run)))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as text tables: steps, tables whose mechanisms change, a block for each number of variables."""
        return "\n".join(latent_lines(figures))

    def _plan(self) -> LatentPlan:
        suites = self.suites or (QUICK_SUITES if self.quick else SUITES)
        columns, repeats = (QUICK_COLUMNS, QUICK_REPEATS) if self.quick else (self.columns, self.repeats)
        tables = min(QUICK_TABLES, self.tables) if self.quick else self.tables
        entries, cells, left_out = self._searches(suites)
        return LatentPlan(
            columns=columns if "steps" in suites else (),
            rows=self.rows,
            restarts=self.restarts,
            repeats=repeats,
            tables=tables if "changing" in suites else 0,
            searches=bool({"simulated", "networks"} & set(suites)),
            entries=entries,
            cells=cells,
            left_out=left_out,
            limit=self.limit or (QUICK_LIMIT_S if self.quick else LIMIT_S),
        )

    def _searches(self, suites: Sequence[LatentSuite]) -> tuple[tuple[Entry, ...], tuple[PagCell, ...], dict[str, str]]:
        """Methods and cells of tables with known PAGs, and the reason for each method or suite that is left out."""
        if not {"simulated", "networks"} & set(suites):
            return (), (), {}
        wanted = pag_entries(self.methods, self.quick)
        left_out = {entry.name: reason for entry in wanted if (reason := entry.missing) is not None}
        if len(left_out) == len(wanted):
            raise BadInput(f"none of the methods can run here: {'; '.join(f'{n}: {r}' for n, r in left_out.items())}")
        rows = self.table_rows or (QUICK_TABLE_ROWS if self.quick else TABLE_ROWS)
        graphs = self.graphs or (QUICK_GRAPHS if self.quick else GRAPHS)
        cells: list[PagCell] = []
        if "simulated" in suites:
            variables = self.variables or (QUICK_VARIABLES if self.quick else VARIABLES)
            cells += simulated_cells(self.confounding or CONFOUNDING, variables, rows, graphs)
        if "networks" in suites and networks_folder() is None:
            left_out["networks"] = "its networks come with pgmpy below 1.3: pip install pgmpy"
        elif "networks" in suites:
            cells += network_cells(self.networks or NETWORKS, rows, graphs)
        return tuple(entry for entry in wanted if entry.name not in left_out), tuple(dict.fromkeys(cells)), left_out
