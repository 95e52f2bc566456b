"""The result of an audit of an engine: a guess a record beside the truth; stored and read again.

`query_guesses.json` in the run's folder:

    {"method", "engine": {"name", setting: value, ...}, "bound", "expected", "secret": {"column", "value"},
     "known": [column, ...], "guesses": [{"row", "truth", "value", "log_odds", "queries", "suppressed", "refused"},
     ...], "passed_over", "others": {"tested", "mistaken"}}
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.audit.queries.family import Guess
from intaglio.audit.queries.query_engine import Secret
from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.tables import rows_csv

FILE = "query_guesses.json"


@dataclass(frozen=True)
class GuessedRecord:
    """One attacked record."""

    row: int
    """Its place in the table, from 0."""
    truth: bool
    """Whether it has the asked value."""
    value: bool
    """Whether it was said to have it."""
    log_odds: float
    """By the method's model, in favour of having it; 0 where no answer told anything and a coin was thrown."""
    queries: int
    suppressed: int
    """Queries without an answer, since they counted too few records."""
    refused: int
    """Queries without an answer, since the budget was spent."""

    @classmethod
    def of(cls, row: int, truth: bool, guess: Guess) -> "GuessedRecord":
        """A guess beside the truth."""
        return cls(row, truth, **guess._asdict())

    @property
    def right(self) -> bool:
        """Whether the guess is the truth."""
        return self.value == self.truth

    @property
    def informed(self) -> bool:
        """Whether the guess rests on answers."""
        return self.log_odds != 0


@dataclass(frozen=True, eq=False)
class QueryGuesses:
    """Guesses of one secret value by one attack on one engine, for as many records with it as without."""

    method: str
    engine: Mapping[str, Any]
    """Name and settings of the engine."""
    secret: Secret
    known: tuple[str, ...]
    """Columns that the attacker knows of each record."""
    guesses: tuple[GuessedRecord, ...]
    """One or more, in the order of the attack."""
    bound: float | None = None
    """Largest accuracy that the engine allows any attack; None where none is known."""
    expected: float | None = None
    """Accuracy of the method in closed form on this engine, where no query is suppressed; None where none is known."""
    passed_over: int = 0
    """Records that are the only ones with their known values, and that the query for that told nothing of."""
    others_tested: int = 0
    """Records that are not the only ones with their known values, and were tested for it by a query."""
    others_mistaken: int = 0
    """Those of them that the query took for the only ones."""

    @property
    def right(self) -> int:
        """Guesses that are the truth."""
        return sum(one.right for one in self.guesses)

    @property
    def accuracy(self) -> float:
        """Share of right guesses, in [0, 1]; a coin has 1/2."""
        return self.right / len(self.guesses)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the accuracy, exact (Clopper and Pearson)."""
        return clopper_pearson(self.right, len(self.guesses)) or (0.0, 1.0)

    @property
    def informed(self) -> tuple[GuessedRecord, ...]:
        """The guesses that rest on answers."""
        return tuple(one for one in self.guesses if one.informed)

    @property
    def queries(self) -> float:
        """Mean number of queries a record."""
        return sum(one.queries for one in self.guesses) / len(self.guesses)

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        low, high = self.interval
        coins = len(self.guesses) - len(self.informed)
        without = f" Of {coins} no answer told anything, and a coin was thrown." if coins else ""
        return (
            f"{self.right} of {len(self.guesses)} records guessed rightly ({self.accuracy:.1%}; 95% interval {low:.1%} "
            f"to {high:.1%}), where a coin has 50%, by {self.queries:.3g} queries each to the {self.engine['name']} "
            f"engine.{without}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a record, in the order of the attack: row, truth, guess, whether it is right, and its queries."""
        return [{**asdict(one), "right": one.right} for one in self.guesses]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`, indexed by the row of the table."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows()).set_index("row")

    def figures(self) -> dict[str, Any]:
        """Accuracy with its interval, what it cost, and what stands beside it."""
        informed, total = self.informed, sum(one.queries for one in self.guesses)
        low, high = self.interval
        return {
            "statement": self.statement,
            "records": len(self.guesses),
            "right": self.right,
            "accuracy": self.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "expected": self.expected,
            "bound": self.bound,
            "informed": len(informed),
            "informed_accuracy": sum(one.right for one in informed) / len(informed) if informed else None,
            "queries": self.queries,
            "suppressed_share": sum(one.suppressed for one in self.guesses) / total if total else 0.0,
            "refused_share": sum(one.refused for one in self.guesses) / total if total else 0.0,
            "passed_over": self.passed_over,
            "others_mistaken_share": self.others_mistaken / self.others_tested if self.others_tested else None,
        }

    def _repr_html_(self) -> str:
        """Figures and guesses, for notebooks."""
        return result_html(f"Guesses by {self.method}", self.figures(), self.rows())

    def save(self, folder: Path) -> None:
        """Writes `guesses.csv` and `query_guesses.json`, each atomically."""
        rows = self.rows()
        atomic_write(Path(folder) / "guesses.csv", rows_csv(rows, list(rows[0])))
        atomic_write(Path(folder) / FILE, to_json(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "QueryGuesses | None":
        """The result stored in a run's folder; None where there is none.

        Raises `BadInput` for a file that is damaged or of another version.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "audit")

    def to_dict(self) -> dict[str, Any]:
        """The content of `query_guesses.json`."""
        return {
            "method": self.method,
            "engine": dict(self.engine),
            "bound": self.bound,
            "expected": self.expected,
            "secret": self.secret._asdict(),
            "known": list(self.known),
            "guesses": [asdict(one) for one in self.guesses],
            "passed_over": self.passed_over,
            "others": {"tested": self.others_tested, "mistaken": self.others_mistaken},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "QueryGuesses":
        """The inverse of `to_dict`."""
        if not (guesses := [_guess(row) for row in stored["guesses"]]):
            raise ValueError("no guesses")
        return cls(
            method=str(stored["method"]),
            engine={**stored["engine"], "name": str(stored["engine"]["name"])},
            secret=Secret(str(stored["secret"]["column"]), str(stored["secret"]["value"])),
            known=tuple(map(str, stored["known"])),
            guesses=tuple(guesses),
            bound=_number(stored["bound"]),
            expected=_number(stored["expected"]),
            passed_over=int(stored["passed_over"]),
            others_tested=int(stored["others"]["tested"]),
            others_mistaken=int(stored["others"]["mistaken"]),
        )


def _guess(row: Mapping[str, Any]) -> GuessedRecord:
    counts: Sequence[int] = [int(row[name]) for name in ("queries", "suppressed", "refused")]
    return GuessedRecord(int(row["row"]), bool(row["truth"]), bool(row["value"]), float(row["log_odds"]), *counts)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
