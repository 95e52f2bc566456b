"""The figures of the audit bench: areas under the ROC by method and regime, and the published procedure beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from intaglio.audit.membership.audit import STANDARD
from intaglio.audit.membership.family import OWN_SCORE, Authenticator
from intaglio.bench.kit.pooling import Audit, margin, mean_auc, pooled_tpr
from intaglio.bench.kit.suspects import HARD, PAPER
from intaglio.metrics.statistics.roc import auc
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

PUBLISHED = "cgi-dm"
"""The method whose published procedure the bench repeats."""


def figures_of(run: Run, methods: Mapping[str, Authenticator]) -> dict[str, Any]:
    """The headline figures, then the mean area of every method and regime, then every audit's areas."""
    found = [run.recorded("audit")[key] for key in sorted(run.recorded("audit"))]
    paper, hard = ([a for a in found if a["regime"] == regime.name] for regime in (PAPER, HARD))
    (reference,) = run.recorded("reference").values()
    rows = rows_of(found)
    own = (PUBLISHED, OWN_SCORE)
    ours = mean_auc(_scores(paper, own))
    baselines = {name: mean_auc(_scores(hard, row)) for name, row in rows.items() if methods[row[0]].role == "baseline"}
    best = max(baselines, key=lambda name: baselines[name].value)
    verdict = mean_auc(_scores(hard, rows[STANDARD]))
    lead = margin(_scores(hard, rows[STANDARD]), _scores(hard, rows[best]))
    default, published = reference["default"], reference["reference"]
    ratios = [published["seconds"] / seconds for seconds in reference["default_seconds"]]
    return {
        "auc": ours.value,
        "auc_low": ours.low,
        "auc_high": ours.high,
        "tpr_at_1pct_fpr": pooled_tpr(_scores(paper, own), 0.01),
        "auc_reference": auc(*published["signals"]["score"]),
        "auc_reference_gain": auc(*published["signals"]["gain"]),
        "auc_default_beside_reference": auc(*default["signals"]["score"]),
        "speedup_vs_reference": sum(ratios) / len(ratios),
        "speedups": ratios,
        "reference_pictures": reference["pictures"],
        "auc_hard": verdict.value,
        "auc_hard_low": verdict.low,
        "auc_hard_high": verdict.high,
        "auc_cgi_dm_hard": mean_auc(_scores(hard, own)).value,
        "auc_best_baseline_hard": baselines[best].value,
        "best_baseline_hard": best,
        "auc_hard_margin": lead.value,
        "auc_hard_margin_low": lead.low,
        "auc_hard_margin_high": lead.high,
        "audits": len(found),
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "areas": {
            regime.name: {name: asdict(mean_auc(_scores(part, row))) for name, row in rows.items()}
            for regime, part in ((PAPER, paper), (HARD, hard))
        },
        "by_audit": {
            f"{a['regime']}/{a['tuner']}/{a['set']}": {
                name: mean_auc(_scores([a], row)).value for name, row in rows.items()
            }
            for a in found
        },
    }


def row_name(method: str, signal: str) -> str:
    """The name of a row: the method's, for its own score, or with the signal after it."""
    return method if signal == OWN_SCORE else f"{method} {signal.replace('_', ' ')}"


def rows_of(found: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """(method, signal) of every row that the audits measured, by the row's name."""
    signals = found[0]["signals"] if found else {}
    return {row_name(method, signal): (method, signal) for method, by in signals.items() for signal in by}


def _scores(audits: Sequence[Mapping[str, Any]], row: tuple[str, str]) -> list[Audit]:
    method, signal = row
    return [Audit(*map(np.array, audit["signals"][method][signal])) for audit in audits]
