"""`intaglio audit queries METHOD`: what noisy answers to counting queries give away of a record's secret attribute.

It takes seconds, so that there is no plan to print.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, cast

import tyro

from intaglio.commands.kit.console import command_line, say, shown
from intaglio.commands.kit.idle_flags import refuse_idle, said_idle
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.queries.family import QueryAttack
    from intaglio.audit.queries.query_engine import EngineSettings, Secret
    from intaglio.audit.queries.record_table import RecordTable
    from intaglio.audit.queries.result import QueryGuesses
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_RECORDS = 10_000
"""Records that one command attacks at most."""
MOST_SYNTHETIC = 1000
"""Records that stand alone in the synthetic table, at most; each has 120 others beside it."""
SYNTHETIC = "synthetic"
"""The table's path in a run of the synthetic one."""


class _Attacked(NamedTuple):
    """The table and the columns of the attack."""

    table: "RecordTable"
    secret: "Secret"
    known: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AuditQueries(Generic[M]):
    """Guess a secret attribute of records from noisy answers to counting queries, and count how often that is right.

    The engine that answers is rebuilt here, over your table: with sticky noise after Diffix, or with Laplace noise
    and a budget. Attacked are records that are the only ones with their known values, as many with the secret value as
    without. Without --table a synthetic table is taken, the attacker's best case. The same command again resumes one
    that was killed.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    table: Path | None = None
    """The table: a CSV file in UTF-8 with commas and a line of names, a record a row. All values count as texts, so
    group numbers beforehand. None takes a synthetic table."""
    secret: str = ""
    """Column that is asked about."""
    value: str | None = None
    """Value of the secret column that a record may have; needed where there are more than two. Of two, the last in the
    order of the alphabet is taken."""
    known: tuple[str, ...] = ()
    """Columns whose values the attacker knows of a record."""
    records: int = 200
    """Records to attack, half of them with the secret value, 2 to 10,000; fewer where not so many stand alone."""
    engine: Literal["sticky", "laplace"] = "sticky"
    """sticky: noise that follows from conditions and counted records, and no answer for few records. laplace: fresh
    noise for each answer, and a budget. Its salt follows from --seed."""
    rounded: bool = True
    """Whether the sticky engine gives whole numbers."""
    epsilon: float = 0.1
    """Privacy loss of one answer of the Laplace engine, above 0; its noise has a scale of 1 / epsilon records."""
    budget: float = 1.0
    """Privacy loss of all answers of the Laplace engine about one attacked record, from epsilon; inf never ends."""
    runs: Path = Path("runs")
    """Folder in which the run's own folder is made."""

    def __post_init__(self) -> None:
        if not 2 <= self.records <= MOST_RECORDS:
            raise ValueError(f"records must be 2 to {MOST_RECORDS:,}, not {self.records}")
        if not 0 < self.epsilon < float("inf"):
            raise ValueError(f"epsilon must be above 0, and finite, not {self.epsilon}")
        if not self.budget >= self.epsilon:
            raise ValueError(f"budget must be at least epsilon, {self.epsilon:g}, not {self.budget}")

    def check_early(self) -> None:
        """Raises `BadInput` for a table, or columns of it, that cannot be attacked."""
        if self.table is None:
            refuse_idle(self, ("secret", "value", "known"), "the synthetic table has columns of its own")
        else:
            self._read(self.table)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.queries.result import QueryGuesses

        attacked = self._synthetic() if self.table is None else self._read(self.table)
        with self._open(attacked) as run:
            if run.status != "done":
                self._attack(attacked, run)
        folder = Path(run.folder or ".")
        _report(cast(QueryGuesses, QueryGuesses.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "QueryAttack":
        return cast("QueryAttack", self.method)

    def _read(self, path: Path) -> _Attacked:
        """The given table, checked."""
        from intaglio.audit.queries.query_engine import Secret
        from intaglio.audit.queries.record_table import RecordTable, asked_value, check_attack

        found = RecordTable.read(path)
        if not self.secret:
            raise BadInput(f"name the secret column of {path} with --secret; its columns are {', '.join(found.names)}")
        value = asked_value(found, self.secret, self.value)
        check_attack(found, self.secret, value, self.known)
        return _Attacked(found, Secret(self.secret, value), self.known)

    def _synthetic(self) -> _Attacked:
        from intaglio.audit.queries.synthetic_records import SECRET, attribute_names, synthetic_records

        found = synthetic_records(min(self.records, MOST_SYNTHETIC), seed=self._method.seed)
        return _Attacked(found, SECRET, attribute_names(5))

    @property
    def _engine(self) -> "EngineSettings":
        """The engine, with the method's seed as its salt."""
        from intaglio.audit.queries.laplace_engine import LaplaceNoise
        from intaglio.audit.queries.sticky_engine import StickyNoise

        salt = str(self._method.seed)
        if self.engine == "sticky":
            return StickyNoise(salt, self.rounded)
        return LaplaceNoise(salt, self.epsilon, self.budget)

    def _open(self, attacked: _Attacked) -> "Run":
        from intaglio.runs.run import Run

        method: Mapping[str, Any] = asdict(cast(Any, self.method))
        own = {
            "secret": attacked.secret._asdict(),
            "known": attacked.known,
            "records": self.records,
            "engine": self._engine.to_dict(),
        }
        inputs = {"table": {"path": str(self.table or SYNTHETIC), "sha256": attacked.table.sha256}}
        about: dict[str, Any] = {"seed": self._method.seed, "device": "cpu"}
        about |= {"command": command_line(), "progress": shown()}
        return Run.open(self.runs, "audit", f"queries-{self._method.name}", {**method, **own}, inputs, **about)

    def _attack(self, attacked: _Attacked, run: "Run") -> None:
        from intaglio.audit.queries.audit import attack_records

        idle = ("epsilon", "budget") if self.engine == "sticky" else ("rounded",)
        for warning in said_idle(self, idle, f"the {self.engine} engine does not take it"):
            run.warn(warning)
        further: dict[str, Any] = {"engine": self._engine, "records": self.records}
        found = attack_records(self._method, *attacked, **further, run=run)
        if len(found.guesses) < self.records - self.records % 2:
            run.warn(
                f"only {len(found.guesses)} records stand alone and have a counterpart with the other secret, so as "
                "many are attacked"
            )
        found.save(Path(run.folder or "."))
        run.finish(found.figures(), ("query_guesses.json", "guesses.csv"))


def _report(found: "QueryGuesses", folder: Path) -> None:
    """Print truth against guess, and write the report."""
    from intaglio.report import write_report

    column, value = found.secret
    rows = [
        (
            f"{column} {'is' if truth else 'is not'} {value}",
            *(sum(one.truth == truth and one.value == said for one in found.guesses) for said in (True, False)),
        )
        for truth in (True, False)
    ]
    say(aligned([("records whose", "said to be so", "said not to be"), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
