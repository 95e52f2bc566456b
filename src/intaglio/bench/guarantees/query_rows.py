"""Rows of the guarantees bench: attacks by counting queries on engines with sticky noise and with a budget."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from intaglio.audit.queries.audit import attack_records
from intaglio.audit.queries.laplace_engine import LaplaceNoise
from intaglio.audit.queries.query_engine import EngineSettings
from intaglio.audit.queries.result import QueryGuesses
from intaglio.audit.queries.sticky_engine import StickyNoise
from intaglio.audit.queries.synthetic_records import SECRET, attribute_names, synthetic_records
from intaglio.bench.kit.methods import default_methods
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.printable import aligned
from intaglio.randomness import seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

TABLES, QUICK_TABLES = 10, 1
RECORDS, ATTRIBUTES = 200, 5
"""Attacked records of each table, and known attributes of each."""
ENGINES = ("sticky", "sticky unrounded", "laplace", "laplace without budget")


def engines(salt: str) -> dict[str, EngineSettings]:
    """The engines by name, all with this salt."""
    return {
        "sticky": StickyNoise(salt),
        "sticky unrounded": StickyNoise(salt, rounded=False),
        "laplace": LaplaceNoise(salt, epsilon=0.1, budget=1.0),
        "laplace without budget": LaplaceNoise(salt, epsilon=1.0, budget=math.inf),
    }


def query_settings(seed: int, quick: bool) -> dict[str, Any]:
    """All that decides on the figures, as plain values."""
    methods = {name: vars(method) for name, method in default_methods("audit queries", seed=seed).items()}
    told = {name: engine.to_dict() for name, engine in engines("").items()}
    return {"tables": QUICK_TABLES if quick else TABLES, "records": RECORDS, "methods": methods, "engines": told}


def query_rows(run: Run, seed: int, quick: bool) -> dict[str, dict[str, Any]]:
    """Figures of each method on each engine, over the records of all tables; what was recorded is not done again."""
    tables = QUICK_TABLES if quick else TABLES
    methods = default_methods("audit queries", seed=seed)
    work = [(number, name, engine) for number in range(tables) for name in methods for engine in ENGINES]
    recorded, key = run.recorded("queries"), digest(query_settings(seed, quick))
    done = {one: row for one in work if (row := recorded.get(_label(one), {})).get("settings") == key}
    found: dict[tuple[str, str], list[QueryGuesses]] = {}
    table_of = lru_cache(1)(
        lambda number: synthetic_records(RECORDS, ATTRIBUTES, seed=seed_32bit(seed, "table", number))
    )
    with run.progress(len(work), "attacks by queries", len(done)) as progress:
        for one in work:
            number, name, engine = one
            row = done.get(one)
            if row is None:
                asked = engines(f"{seed} {number}")[engine]
                known = attribute_names(ATTRIBUTES)
                guesses = attack_records(methods[name], table_of(number), SECRET, known, engine=asked, records=RECORDS)
                row = {"settings": key, "guesses": guesses.to_dict()}
                run.record("queries", _label(one), row)
                progress.advance()
            found.setdefault((name, engine), []).append(QueryGuesses.from_dict(row["guesses"]))
    return {f"{name}, {engine}": _figures(methods[name].role, parts) for (name, engine), parts in found.items()}


def query_headlines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracy of each row, and whether one lies beyond what its budget allows."""
    bounded = [row for row in rows.values() if row["bound"] is not None]
    return {
        **{f"accuracy_{_word(name)}": row["accuracy"] for name, row in rows.items()},
        "beyond_budget": sum(row["low"] > row["bound"] for row in bounded),
    }


def query_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows as aligned columns."""
    head = ("attack, engine", "right", "interval", "exact", "bound", "queries", "suppressed", "refused", "records")
    lines = [
        (
            name,
            f"{row['accuracy']:.4f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            _number(row["exact"], 4),
            _number(row["bound"], 3),
            f"{row['queries']:.1f}",
            f"{row['suppressed_share']:.1%}",
            f"{row['refused_share']:.1%}",
            str(row["records"]),
        )
        for name, row in rows.items()
    ]
    return aligned([head, *lines])


def _figures(role: str, parts: list[QueryGuesses]) -> dict[str, Any]:
    """The figures of one method on one engine, all tables together."""
    guesses = [one for part in parts for one in part.guesses]
    right, queries = sum(one.right for one in guesses), sum(one.queries for one in guesses)
    low, high = clopper_pearson(right, len(guesses)) or (0.0, 1.0)
    return {
        "role": role,
        "records": len(guesses),
        "accuracy": right / len(guesses),
        "low": low,
        "high": high,
        "exact": parts[0].expected,
        "bound": parts[0].bound,
        "queries": queries / len(guesses),
        "suppressed_share": sum(one.suppressed for one in guesses) / queries,
        "refused_share": sum(one.refused for one in guesses) / queries,
    }


def _label(work: tuple[int, str, str]) -> str:
    number, name, engine = work
    return f"{number:02d} {name} {engine}"


def _word(name: str) -> str:
    return name.replace(",", "").replace("-", "_").replace(" ", "_")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
