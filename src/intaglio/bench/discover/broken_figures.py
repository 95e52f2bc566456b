"""Figures of the suite `broken`: what a break costs each method, and whether SiCL's unlikeness tells where it errs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from intaglio.bench.discover.ranks import Facts, Results, mean_and_error, mean_ranks
from intaglio.bench.discover.scores import calibration_error
from intaglio.metrics.statistics.roc import auc

SUITE, OWN_METHOD = "broken", "sicl"


def broken_figures(results: Results, facts: Facts, peers: Results, peer: str | None) -> dict[str, Any]:
    """The headline of the suite, then a row per family; an empty mapping where no table of it was asked about.

    Args:
        results: answers to all tables.
        facts: facts of the same tables.
        peers: answers to the broken tables, sound twins left out.
        peer: the peer of best mean rank on these.

    Returns:
        Mean ranks on the broken tables of SiCL and of the best peer. `ood_auc`: the probability that SiCL's unlikeness
        is higher on a table, broken or sound, where its SHD is above the empty graph's than on one where it is not,
        ties counted half. `ood_auc_broken`: the same of broken tables and sound twins. `ece_worst_family`: the largest
        expected calibration error of SiCL in a family of broken tables. `worse_than_empty`: the families on whose
        broken tables SiCL's mean SHD is above the empty graph's. `broken`: by family. `undefined_figures`: the reason
        for each of these that is None.
    """
    if not peers:
        return {}
    ranks = mean_ranks(peers)
    families = {family: family_row(results, facts, family) for family in dict.fromkeys(_families(peers, facts))}
    errors = {family: row["ece"] for family, row in families.items() if row["ece"] is not None}
    worst = max(errors, key=lambda family: errors[family], default=None)
    areas, reasons = unlikeness_areas(results, facts)
    if worst is None:
        reasons["ece_worst_family"] = f"{OWN_METHOD} gave no probabilities"
    return {
        "sicl_broken_mean_rank": ranks.get(OWN_METHOD),
        "best_peer_broken": peer,
        "best_peer_broken_mean_rank": ranks.get(peer or ""),
        **areas,
        "ece_worst_family": errors.get(worst or ""),
        "ece_worst_family_name": worst,
        "worse_than_empty": [name for name, row in families.items() if _worse_than_empty(row)],
        "undefined_figures": reasons,
        "broken": families,
    }


def broken_only(results: Results, facts: Facts) -> Results:
    """The answers to broken tables, without those to sound twins and to other suites."""
    return _part(results, facts, False)


def family_row(results: Results, facts: Facts, family: str) -> dict[str, Any]:
    """The figures of one family: means over its broken tables, and with `sound_` before them over their twins.

    `empty_shd` is the SHD of the graph without edges, which is the number of true edges. Means of a method are over the
    tables that it answered.
    """
    found: dict[str, Any] = {}
    methods: dict[str, dict[str, Any]] = {}
    for sound, prefix in ((False, ""), (True, "sound_")):
        part = {key: a for key, a in _part(results, facts, sound).items() if facts[key]["source"] == family}
        own = _given(part, OWN_METHOD)
        bins = [answer["bins"] for _, answer in own if answer.get("bins")]
        scores = [answer["ood_score"] for _, answer in own if answer.get("ood_score") is not None]
        found |= {
            f"{prefix}tables": len(part),
            f"{prefix}empty_shd": mean_and_error([float(facts[key]["edges"]) for key in part])[0],
            f"{prefix}answered_empty_shd": mean_and_error([float(facts[key]["edges"]) for key, _ in own])[0],
            f"{prefix}ece": calibration_error(bins),
            f"{prefix}unlikeness": mean_and_error(scores)[0],
        }
        for name in dict.fromkeys(name for answers in part.values() for name in answers):
            given, row = _given(part, name), methods.setdefault(name, {})
            for metric in ("shd", "skeleton_f1"):
                row[prefix + metric] = mean_and_error([float(answer[metric]) for _, answer in given])[0]
            row[f"{prefix}failures"] = sum(name in answers for answers in part.values()) - len(given)
    return found | {"methods": methods}


def unlikeness_areas(results: Results, facts: Facts) -> tuple[dict[str, float | None], dict[str, str]]:
    """`ood_auc` and `ood_auc_broken`, and the reason for each that is None. Tables without a score are left out."""
    known = [
        (answer["ood_score"], answer["shd"] > facts[key]["edges"], sound)
        for sound in (False, True)
        for key, answer in _given(_part(results, facts, sound), OWN_METHOD)
        if answer.get("ood_score") is not None
    ]
    groups = {
        "ood_auc": ([s for s, worse, _ in known if worse], [s for s, worse, _ in known if not worse]),
        "ood_auc_broken": ([s for s, _, sound in known if not sound], [s for s, _, sound in known if sound]),
    }
    above = f"{OWN_METHOD}'s SHD is above the empty graph's on"
    empty = {
        "ood_auc": (f"{above} none of {len(known)} tables", f"{above} all of {len(known)} tables"),
        "ood_auc_broken": ("no broken table has a score", "no sound twin has a score"),
    }
    areas = {name: auc(*pair) for name, pair in groups.items()}
    reasons = {}
    for name, (positive, negative) in groups.items():
        if areas[name] is None:
            of_none = empty[name][0] if not positive else empty[name][1] if not negative else "all scores are equal"
            reasons[name] = of_none if known else f"{OWN_METHOD} gave no unlikeness"
    return areas, reasons


def broken_lines(found: Mapping[str, Any]) -> list[str]:
    """A line per family: SHDs, calibration error and unlikeness, broken / sound twin."""
    if not (families := found.get(SUITE)):
        return []
    peer = found["best_peer_broken"] or "-"
    head = ("family", "tables", "empty SHD", f"{OWN_METHOD} SHD", f"{peer} SHD", "ECE", "unlikeness")
    lines = ["broken tables / their sound twins", _line(head)]
    for family, row in families.items():
        of_own, of_peer = (row["methods"].get(name, {}) for name in (OWN_METHOD, peer))
        cells = (_both(row, "tables"), _both(row, "empty_shd"), _both(of_own, "shd"), _both(of_peer, "shd"))
        lines.append(_line((family, *cells, _both(row, "ece"), _both(row, "unlikeness"))))
    lines += [_failed(name, family, row) for name in (OWN_METHOD, peer) for family, row in families.items()]
    lines += [f"{name}: {why}" for name, why in found["undefined_figures"].items()]
    return [line for line in lines if line]


def _failed(name: str, family: str, row: Mapping[str, Any]) -> str:
    """A sentence on the tables that a method did not answer; empty where there are none."""
    of = row["methods"].get(name, {})
    failed = of.get("failures", 0) + of.get("sound_failures", 0)
    asked = row["tables"] + row["sound_tables"]
    return f"{name} failed on {failed} of {asked} tables of {family}: its SHD is of the others" if failed else ""


def _worse_than_empty(row: Mapping[str, Any]) -> bool:
    """Whether SiCL's mean SHD is above the empty graph's, both over the broken tables that it answered."""
    own = row["methods"].get(OWN_METHOD, {}).get("shd")
    return own is not None and own > row["answered_empty_shd"]


def _part(results: Results, facts: Facts, sound: bool) -> Results:
    return {key: answers for key, answers in results.items() if facts[key].get("sound") is sound}


def _families(results: Results, facts: Facts) -> Iterable[str]:
    return (facts[key]["source"] for key in results)


def _given(results: Results, name: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """A method's answers by table, failures left out."""
    asked = ((key, answers[name]) for key, answers in results.items() if name in answers)
    return [(key, answer) for key, answer in asked if "failure" not in answer]


def _both(row: Mapping[str, Any], name: str) -> str:
    return " / ".join(_number(row.get(key)) for key in (name, f"sound_{name}"))


def _number(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:>15}" + "".join(f"{cell:>17}" for cell in cells[1:])
