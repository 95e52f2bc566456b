"""Figures of the PAG suites of `intaglio bench latent` from the recorded answers."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from intaglio.bench.discover.ranks import margin, mean_and_error
from intaglio.bench.latent.pag_entries import ABIC, FCI_ENTRIES, SKELETON_ONLY, SPOT
from intaglio.bench.latent.pag_scores import F1S, SCORES
from intaglio.causal.methods.spot.posterior_quality import posterior_quality

Answers = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By table and method: the figures of an answer, or `failure`, with the limit as `timeout` where it came too late."""
Facts = Mapping[str, Mapping[str, Any]]
"""By table: its cell, suite, source, variables, and the edges of the true PAG."""
USUAL_VARIABLES, USUAL_LIMIT_S = 50, 600.0
POSTERIOR_FIGURES = ("auroc", "auprc", "ece")


def blocks(answers: Answers, facts: Facts, posteriors: Mapping[str, Mapping[str, Any]], by: str) -> dict[str, Any]:
    """Tables in groups of one fact, in its order: their number, methods' rows, SPOT's margins, the posterior's quality.

    Args:
        answers: by table and method.
        facts: of the tables that count.
        posteriors: by table, probabilities of all pairs by the posterior's name, and whether they are `adjacent`.
        by: name of the fact, such as `cell`.
    """
    found = {}
    for group in sorted({fact[by] for fact in facts.values()}):
        keys = [key for key, fact in facts.items() if fact[by] == group]
        part = {key: answers[key] for key in keys if key in answers}
        found[str(group)] = {
            "tables": len(keys),
            "methods": {name: method_row(part, facts, name) for name in names_in(part)},
            "margins": margins(part),
            "posterior": quality([posteriors[key] for key in keys if key in posteriors]),
        }
    return found


def margins(answers: Answers) -> dict[str, dict[str, Any]]:
    """Mean of SPOT's PAG F1 less that of each other method, over the tables that both answered, with its 95% interval.

    The interval is a bootstrap over tables; `value`, `low` and `high` are None where there is no such table.
    """
    others = [name for name in names_in(answers) if name not in (SPOT, *SKELETON_ONLY)]
    return {name: margin(answers, SPOT, name, "pag_f1") for name in others}


def names_in(answers: Answers) -> list[str]:
    """Methods that were asked about any of the tables, in their order."""
    return list(dict.fromkeys(name for by in answers.values() for name in by))


def method_row(answers: Answers, facts: Facts, name: str) -> dict[str, Any]:
    """Means and standard errors of a method over its tables, median seconds, failures and invalid graphs.

    A failure counts as the graph without edges: F1s of 0 and all true edges as its SHD; an answer that came too late
    counts with its limit as its seconds.
    """
    asked = {key: by[name] for key, by in answers.items() if name in by}
    failed = {key for key, answer in asked.items() if "failure" in answer}
    empty = {key: {**dict.fromkeys(F1S, 0.0), "shd": facts[key]["edges"]} for key in failed}
    counted = [empty.get(key, answer) for key, answer in asked.items()]
    given = [asked[key] for key in asked if key not in failed]
    found: dict[str, Any] = {"tables": len(asked), "failures": len(failed)}
    found["invalid"] = sum(answer["valid"] is False for answer in given)
    for metric in SCORES:
        known = metric == "skeleton_f1" or name not in SKELETON_ONLY
        found[metric], found[f"{metric}_error"] = mean_and_error([float(one[metric]) for one in counted if known])
    times = [time for answer in asked.values() if (time := answer.get("seconds", answer.get("timeout"))) is not None]
    return found | {"seconds": statistics.median(times) if times else None}


def quality(posteriors: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Quality of each posterior by name, over all pairs of the tables; of none where all pairs have one label."""
    labels = [np.asarray(one["adjacent"], bool) for one in posteriors]
    adjacent = np.concatenate(labels) if labels else np.zeros(0, bool)
    if adjacent.all() or not adjacent.any():
        return {}
    found = {}
    for name in (name for name in posteriors[0] if name != "adjacent"):
        probabilities = np.concatenate([np.asarray(one[name], np.float64) for one in posteriors])
        whole = posterior_quality(probabilities, adjacent).to_json()
        found[name] = {figure: whole[figure] for figure in (*POSTERIOR_FIGURES, "log_loss", "pairs", "rate")}
    return found


def headline(answers: Answers, facts: Facts, limit: float, step_ratio: float | None) -> dict[str, Any]:
    """The figures by which runs are compared, over the simulated tables; `not_measured` has a reason for each None."""
    simulated = {key: by for key, by in answers.items() if facts[key]["suite"] == "simulated"}
    names = names_in(simulated)
    rows = {name: method_row(simulated, facts, name) for name in names}
    best_fci = max((n for n in FCI_ENTRIES if n in rows), key=lambda name: rows[name]["pag_f1"], default=FCI_ENTRIES[0])
    found: dict[str, Any] = {
        "spot_pag_f1": rows.get(SPOT, {}).get("pag_f1"),
        "fci_pag_f1": rows.get(best_fci, {}).get("pag_f1"),
        "abic_pag_f1": rows.get(ABIC, {}).get("pag_f1"),
        "spot_skeleton_f1": rows.get(SPOT, {}).get("skeleton_f1"),
        "fci_skeleton_f1": rows.get(best_fci, {}).get("skeleton_f1"),
        f"spot_seconds_d{USUAL_VARIABLES}": _at(simulated, facts, SPOT, USUAL_VARIABLES)["seconds"],
        f"abic_seconds_d{USUAL_VARIABLES}": _at(simulated, facts, ABIC, USUAL_VARIABLES)["seconds"],
        "abic_ours_speedup_vs_reference_math": step_ratio,
        "d_max_within_10_min": most_variables_in_time(simulated, facts, limit),
    }
    for d in sizes(simulated, facts):
        for name, entry in (("spot", SPOT), ("fci", best_fci), ("abic", ABIC)):
            found[f"{name}_pag_f1_d{d}"] = _at(simulated, facts, entry, d)["pag_f1"]
    reasons = {name: _reason(name, names, sizes(simulated, facts)) for name, value in found.items() if value is None}
    return {**found, "fci_level": best_fci.partition("-")[2] if best_fci in rows else None, "not_measured": reasons}


def sizes(answers: Answers, facts: Facts) -> list[int]:
    """Numbers of variables of the tables, ascending."""
    return sorted({facts[key]["variables"] for key in answers})


def most_variables_in_time(answers: Answers, facts: Facts, limit: float) -> int | None:
    """Largest number of variables at which SPOT ended before its limit, and before ten minutes, on every table.

    With a shorter limit it is a lower bound: what a longer one would have allowed is not known.
    """
    longest: dict[int, float] = {}
    for key, by in answers.items():
        if SPOT in by:
            d = facts[key]["variables"]
            longest[d] = max(longest.get(d, 0.0), by[SPOT].get("seconds", float("inf")))
    return max((d for d, seconds in longest.items() if seconds < min(limit, USUAL_LIMIT_S)), default=None)


def _at(answers: Answers, facts: Facts, name: str, variables: int) -> dict[str, Any]:
    return method_row({key: by for key, by in answers.items() if facts[key]["variables"] == variables}, facts, name)


def _reason(figure: str, names: Iterable[str], measured: Sequence[int]) -> str:
    """The reason why a figure was not measured, in words."""
    if figure == "abic_ours_speedup_vs_reference_math":
        return f"no step was timed at {USUAL_VARIABLES} columns and 1000 rows; take --suites steps --columns 50"
    if not measured:
        return "no simulated tables were searched; take --suites simulated"
    method = SPOT if figure == "d_max_within_10_min" else figure.partition("_")[0]
    if not any(name in (method, *FCI_ENTRIES) and name.startswith(method) for name in names):
        return f"{method} took no part; see left_out, or name it in --methods"
    if f"_d{USUAL_VARIABLES}" in figure and USUAL_VARIABLES not in measured:
        return f"no simulated table had {USUAL_VARIABLES} variables; add {USUAL_VARIABLES} to --variables"
    if figure == "d_max_within_10_min":
        return "SPOT took until its limit on some table of each size; raise --limit"
    return f"{method} gave no answer"
