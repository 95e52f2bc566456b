"""The report page of the bench of ways to make a model smaller: error by bytes, and what audits still tell."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intaglio.amounts import size_words
from intaglio.report.kit.axes import number
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.views import FrontsPage, Key, PageTable, Row
from intaglio.report.pages.fronts_page import front_plot
from intaglio.report.pages.run_pages import state
from intaglio.runs.read import RunData

LIMITS = (
    Row("Proxies", "Distances of pictures are told by a small encoder of emoji."),
    Row(
        "Speed",
        "Packed weights are unpacked when a model is loaded, and a call takes as long as before; where inputs are "
        "rounded too, layers can compute with integers on a CPU.",
    ),
    Row("Other models", "Layers of a large model have other outliers; the order of the methods may change there."),
    Row("Privacy", "An audit that finds less after rounding has lost its measure, not the model its memory."),
)
HEADS = ("row", "size", "bits", "error", "with 95%", "gained bits", "loss rise", "distance", "KID", "dB")


def page_of(run: RunData, page_folder: Path) -> FrontsPage | None:
    """The page of a finished `bench shrink`; None where nothing is finished yet."""
    if not isinstance(run.summary.get("rows"), Mapping):
        return None
    summary, rows = run.summary, run.summary["rows"]
    front = [name for name, row in rows.items() if row["on_front"]]
    plotted = {
        name: {**row, "megabytes": row["bytes"] / 1e6, "norm": row["error"]["whole"]} for name, row in rows.items()
    }
    return FrontsPage(
        template="fronts.html.j2",
        **title(run, f"{len(front)} of {count(len(rows), 'row')} on the front"),
        lead=f"Ways to make a model smaller, by bytes and by the error of its predictions. {state(run)}",
        keys=_keys(summary),
        warnings=run.warnings,
        figures=[
            Row(
                "Squares are on the front of bytes and error; a line joins the settings of one method.",
                front_plot(plotted, ("megabytes", "megabytes (log)"), ("norm", "error of predictions"), log=True),
            )
        ],
        table=PageTable("", HEADS, [_cells(name, row) for name, row in rows.items()]),
        pictures=[],
        limits=(*LIMITS, *_audits(summary.get("audit_auc") or {})),
    )


def _keys(summary: Mapping[str, Any]) -> list[Key]:
    keys = [Key("Methods", str(summary["methods"]), "along their knobs")]
    if "w4_best_method" in summary:
        best, plain = summary["w4_best_error"], summary["w4_rtn_error"]
        keys.append(Key("Best at 4 bits", summary["w4_best_method"], f"error {decimal(best)}, plain {decimal(plain)}"))
        keys.append(Key("Size at 4 bits", f"{summary['bytes_ratio_w4']:.0%}", "of 16 bits a weight"))
    if (ratio := summary.get("seconds_ratio_w8")) is not None:
        keys.append(Key("Seconds in int8", f"{ratio:.0%}", "of float32, a call of eight"))
    if "audit_auc_full" in summary:
        words = f"{summary['audit_auc_w4']:.2f} after rounding to 4 bits"
        keys.append(Key("AUC of audits", f"{summary['audit_auc_full']:.2f}", words))
    return keys


def _cells(name: str, row: Mapping[str, Any]) -> Sequence[str]:
    error, gained = row["error"], row["gained_bits"]
    return [
        name,
        size_words(row["bytes"]),
        f"{row['bits']:.2f}",
        decimal(error["whole"]),
        f"{decimal(error['low'])} to {decimal(error['high'])}",
        "" if gained is None else f"{gained:+.2f}",
        f"{row['loss_unseen']['rise']['mean']:+.5f}",
        number(row["distance"]["mean"]),
        f"{row['kid']['mean']:+.4f}",
        f"{row['psnr']:.1f}",
    ]


def _audits(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A line an audit and regime: its AUC on full fine-tunes, and on smaller ones."""
    return [
        Row(f"AUC of {audit}, {regime}", "; ".join(f"{key} {one['value']:.2f}" for key, one in figures.items()))
        for regime, audits in found.items()
        for audit, figures in audits.items()
    ]
