"""Figures of `intaglio bench discover` from the recorded answers, and their text tables."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from intaglio.bench.discover.broken_figures import broken_figures, broken_lines, broken_only
from intaglio.bench.discover.entries import Entry
from intaglio.bench.discover.ranks import METRICS, Facts, Results, margin, mean_and_error, mean_ranks
from intaglio.bench.discover.scores import F1S, calibration_error

OWN_METHOD, NODE_EDGE = "sicl", "node-edge"
PC_ENTRIES = ("pc-0.01", "pc-0.05")
USUAL_VARIABLES, LARGE_VARIABLES = 20, 50


def figures(results: Results, facts: Facts, entries: Sequence[Entry]) -> dict[str, Any]:
    """The headline figures, then a row per method, the suites and the cells."""
    ranks = mean_ranks(results)
    rows = {c.name: row(results, c.name) | {"role": c.role, "mean_rank": ranks.get(c.name)} for c in entries}
    for name in rows:
        rows[name]["sicl_rank_there"] = mean_ranks(_with(results, name)).get(OWN_METHOD)
    best, broken = best_peer(results, entries), broken_only(results, facts)
    return {
        **headline(results, facts, rows, best),
        **broken_figures(results, facts, broken, best_peer(broken, entries)),
        "margins": {
            other: {metric: margin(results, OWN_METHOD, other, metric) for metric in METRICS}
            for other in dict.fromkeys((best, NODE_EDGE))
            if other is not None
        },
        "tables": len(results),
        "failures": sum(r["failures"] for r in rows.values()),
        "undefined": undefined(results),
        "calibration_errors": {n: _calibration(results, facts, n) for n in rows},
        "methods": rows,
        "suites": suites(results, facts),
        "cells": cells(results, facts),
    }


def headline(results: Results, facts: Facts, rows: Mapping[str, Mapping[str, Any]], best: str | None) -> dict[str, Any]:
    """The figures by which runs are compared; None for methods that did not take part."""
    of = {"sicl": rows.get(OWN_METHOD, {}), "best_peer": rows.get(best or "", {}), "node_edge": rows.get(NODE_EDGE, {})}
    found: dict[str, Any] = {f"{name}_mean_rank": row.get("mean_rank") for name, row in of.items()}
    for metric in METRICS:
        found |= {f"{name}_{metric}": row.get(metric) for name, row in of.items()}
    by_pc = [t for name in PC_ENTRIES if (t := seconds(results, facts, name, LARGE_VARIABLES)) is not None]
    ours = seconds(results, facts, OWN_METHOD, LARGE_VARIABLES)
    return {
        **found,
        "best_peer": best,
        "seconds_d20": seconds(results, facts, OWN_METHOD, USUAL_VARIABLES),
        "speed_ratio_vs_pc_d50": min(by_pc) / ours if by_pc and ours else None,
        "ece": _calibration(results, facts, OWN_METHOD),
    }


def best_peer(results: Results, entries: Sequence[Entry]) -> str | None:
    """The entry of best mean rank among other packages and baselines that are given standardised numbers.

    Only entries that ran on the most tables count: a mean over numeric tables alone cannot be compared.
    """
    names = [c.name for c in entries if c.role != "ours" and not c.raw]
    asked = {name: len(_with(results, name)) for name in names}
    ranks = mean_ranks(results)
    whole = [name for name in names if asked[name] and asked[name] == max(asked.values())]
    return min(whole, key=lambda name: (ranks[name], name), default=None)


def row(results: Results, name: str) -> dict[str, Any]:
    """Means with standard errors over the tables that a method answered, its times in seconds, and its failures."""
    asked = [answers[name] for answers in results.values() if name in answers]
    given = [answer for answer in asked if "failure" not in answer]
    found: dict[str, Any] = {"tables": len(asked), "failures": len(asked) - len(given)}
    found["invalid"] = sum(not answer["valid"] for answer in given)
    for metric in (*F1S, "shd", "edges"):
        found[metric], found[f"{metric}_error"] = mean_and_error([float(answer[metric]) for answer in given])
    times = [answer["seconds"] for answer in given]
    return found | {
        "seconds": statistics.median(times) if times else None,
        "seconds_slowest": max(times, default=None),
        "timing_spread": statistics.median(a["slowest"] / max(a["fastest"], 1e-9) for a in given) if given else None,
    }


def suites(results: Results, facts: Facts) -> dict[str, Any]:
    """Mean ranks and scores within each suite; the simulated suite is split by whether its family was trained on,
    broken tables stand apart from their sound twins.
    """
    groups = dict.fromkeys(_group(facts[key]) for key in results)
    return {group: _short({k: results[k] for k in results if _group(facts[k]) == group}) for group in groups}


def cells(results: Results, facts: Facts) -> dict[str, Any]:
    """Every cell: means of its tables' facts, and every method's scores."""
    found = {}
    for cell in dict.fromkeys(facts[key]["cell"] for key in results):
        keys = [key for key in results if facts[key]["cell"] == cell]
        about = {name: facts[keys[0]][name] for name in ("suite", "seen", "variables", "rows")}
        for name in ("edges", "colliders", "varsortability", "r2_sortability"):
            known = [facts[key][name] for key in keys if facts[key][name] is not None]
            about[name] = round(float(np.mean(known)), 3) if known else None
        found[cell] = {**about, "tables": len(keys), "methods": _short({key: results[key] for key in keys})}
    return found


def undefined(results: Results) -> dict[str, int]:
    """Number of F1s that count as 1 because true and estimated set were both empty."""
    given = [a for answers in results.values() for a in answers.values() if "failure" not in a]
    return {name: sum(name in answer["undefined"] for answer in given) for name in F1S}


def seconds(results: Results, facts: Facts, name: str, variables: int) -> float | None:
    """Median seconds over simulated tables of one number of columns; a timeout counts as the limit."""
    times = []
    for key, answers in results.items():
        if name in answers and facts[key]["suite"] == "simulated" and facts[key]["variables"] == variables:
            times.append(answers[name].get("seconds", answers[name].get("timeout")))
    times = [time for time in times if time is not None]
    return statistics.median(times) if times else None


def _calibration(results: Results, facts: Facts, name: str) -> float | None:
    """Expected calibration error over tables of families that the networks were trained on."""
    bins = [answers[name].get("bins") for key, answers in results.items() if name in answers and facts[key]["seen"]]
    return calibration_error([part for part in bins if part])


def _short(results: Results) -> dict[str, Any]:
    ranks, found = mean_ranks(results), {}
    for name, rank in ranks.items():
        whole = row(results, name)
        kept = {key: whole[key] for key in (*F1S, "shd", "seconds")}
        found[name] = {"mean_rank": round(rank, 3), **{k: _rounded(v) for k, v in kept.items()}}
        found[name] |= {"tables": whole["tables"], "failures": whole["failures"]}
    return found


def _group(fact: Mapping[str, Any]) -> str:
    if fact.get("sound"):
        return f"{fact['suite']}, twins"
    return f"{fact['suite']}, {'seen' if fact['seen'] else 'unseen'}" if fact["seen"] is not None else fact["suite"]


def _with(results: Results, name: str) -> Results:
    return {key: answers for key, answers in results.items() if name in answers}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def tables(found: Mapping[str, Any]) -> str:
    """The figures as text: headline, methods by rank, suites, cells."""
    plain = [f"{name:>26}  {_word(value)}" for name, value in found.items() if not isinstance(value, dict)]
    parts = [plain, broken_lines(found), _margins(found["margins"]), _methods(found["methods"])]
    parts += [_suites(found["suites"]), _cells(found)]
    reasons = found.get("left_out", {}) | found.get("not_asked", {})
    parts.append([f"{name}: {reason}" for name, reason in reasons.items()])
    return "\n\n".join("\n".join(part) for part in parts if part)


def _margins(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    return [
        f"{OWN_METHOD} less {other}, {metric}: {_word(of['value'])} ({_word(of['low'])} to {_word(of['high'])})"
        f" on {of['tables']} tables"
        for other, by in found.items()
        for metric, of in by.items()
        if of["tables"]
    ]


def _methods(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = ("method", "rank", "sicl's", "skeleton F1", "arrow F1", "collider F1", "SHD", "median s", "slowest s")
    lines = [_line(head, ("tables", "failed", "invalid"))]
    for name, of in sorted(rows.items(), key=lambda item: _last(item[1]["mean_rank"])):
        both = [f"{_word(of[m], 3)} ± {_word(of[f'{m}_error'], 3)}" for m in (*F1S, "shd")]
        ranks = (_word(of["mean_rank"]), _word(of["sicl_rank_there"]))
        counts = (str(of["tables"]), str(of["failures"]), str(of["invalid"]))
        lines.append(_line((name, *ranks, *both, _word(of["seconds"]), _word(of["seconds_slowest"])), counts))
    return lines


def _line(cells: Iterable[str], counts: Iterable[str]) -> str:
    widths = (14, 6, 6, 15, 15, 15, 15, 9, 9)
    return " ".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)) + "".join(f"{c:>8}" for c in counts)


def _suites(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for by in found.values() for name in by))
    lines = ["mean rank by suite", " " * 14 + "".join(f"{suite:>19}" for suite in found)]
    for name in names:
        ranks = (_word(by[name]["mean_rank"]) if name in by else "-" for by in found.values())
        lines.append(f"{name:>14}" + "".join(f"{rank:>19}" for rank in ranks))
    return lines


def _cells(found: Mapping[str, Any]) -> list[str]:
    """SiCL, the best peer and Node-Edge, cell by cell."""
    shown = list(dict.fromkeys(n for n in (OWN_METHOD, found["best_peer"], NODE_EDGE) if n and n in found["methods"]))
    head = f"{'cell':>34} {'family':>7} {'edges':>6} {'var':>5} {'R²':>5}"
    lines = [head + "".join(f"  {name:>22}" for name in shown), " " * 61 + "skeleton F1, arrow F1, SHD" * bool(shown)]
    for key, cell in found["cells"].items():
        seen = {True: "seen", False: "unseen", None: "-"}[cell["seen"]]
        line = f"{key:>34} {seen:>7} {_word(cell['edges']):>6} {_word(cell['varsortability'], 2):>5} "
        line += f"{_word(cell['r2_sortability'], 2):>5}"
        for name in shown:
            of = cell["methods"].get(name)
            words = [_word(of[m], 3) for m in METRICS] if of else ["-"]
            line += f"  {' '.join(words):>22}"
        lines.append(line)
    return lines


def _last(rank: float | None) -> float:
    return float("inf") if rank is None else rank


def _word(value: Any, digits: int = 4) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
