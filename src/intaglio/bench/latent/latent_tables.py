"""Text tables of `intaglio bench latent`: times of steps, tables whose mechanisms change, a block for each size."""

from collections.abc import Mapping
from typing import Any

from intaglio.bench.latent.pag_scores import SCORES

HEADS = ("skeleton F1", "PAG F1", "arrow F1", "tail F1", "SHD")
Figures = Mapping[str, Any]


def latent_lines(figures: Figures) -> list[str]:
    """The lines of all suites that figures are there for."""
    lines = step_lines(figures) + changing_lines(figures.get("changing", {}))
    if "by_variables" in figures:
        lines += headline_lines(figures)
        lines += block_lines(figures["by_variables"], "simulated, {} variables")
        lines += block_lines(figures["by_network"], "network {}")
        lines += [f"{name}: {reason}" for name, reason in figures["left_out"].items()]
    return lines


def step_lines(figures: Figures) -> list[str]:
    """One line a number of columns; none without steps."""
    part = f" {{:>10}} {'plain':>10} {'ratio':>7}"
    lines = [f"{'':>12}{part.format('step')}{part.format('round')} {'differ':>9}"]
    for name, of in figures.items():
        if isinstance(of, Mapping) and "step_seconds" in of:
            times = "".join(
                f" {1e3 * of[f'{part}_seconds']:>7.3f} ms {1e3 * of[f'plain_{part}_seconds']:>7.2f} ms"
                f" {of[f'{part}_ratio']:>7.1f}"
                for part in ("step", "round")
            )
            lines.append(f"{name:>12}{times} {of['largest_difference']:>9.1e}")
    return lines if len(lines) > 1 else []


def changing_lines(cells: Figures) -> list[str]:
    """A block for each kind of tables whose mechanisms change, a line a method."""
    lines = []
    for cell, methods in cells.items():
        lines += ["", cell]
        lines += [
            f"{name:>24}{''.join(_named(head, value) for head, value in of.items())}" for name, of in methods.items()
        ]
    return lines


def headline_lines(figures: Figures) -> list[str]:
    """One line a headline figure, with the reason for one that was not measured."""
    reasons = figures["not_measured"]
    named = [name for name in figures if name in reasons or name.startswith(("spot_", "fci_", "abic_", "d_max"))]
    return ["", *(f"{name:>36}  {reasons.get(name) or _word(figures[name])}" for name in named)]


def block_lines(found: Figures, title: str) -> list[str]:
    """A block for each group of tables, a line a method, and the quality of the posterior."""
    lines = []
    for group, of in found.items():
        lines += ["", f"{title.format(group)}, {of['tables']} tables"]
        head = "".join(f"{word:>16}" for word in HEADS)
        lines.append(f"{'':>16}{head}{'median s':>10}{'failed':>8}{'invalid':>8}  SPOT's PAG F1 less this, 95%")
        for name, row in of["methods"].items():
            cells = "".join(f"{_with_error(row, metric):>16}" for metric in SCORES)
            counts = f"{row['failures']:>8}{row['invalid']:>8}"
            lines.append(f"{name:>16}{cells}{_word(row['seconds'], 3):>10}{counts}{_margin(of['margins'].get(name))}")
        for name, quality in of["posterior"].items():
            words = ", ".join(f"{figure.upper()} {quality[figure]:.3f}" for figure in ("auroc", "auprc", "ece"))
            pairs = f"{quality['pairs']} pairs, {quality['rate']:.1%} adjacent"
            lines.append(f"{'posterior':>16}  {name}: {words} over {pairs}")
    return lines


def _with_error(row: Figures, metric: str) -> str:
    if row[metric] is None:
        return "-"
    error = row[f"{metric}_error"]
    return f"{row[metric]:.3g}" + ("" if error is None else f" ± {error:.2g}")


def _margin(found: Figures | None) -> str:
    if found is None or found["value"] is None:
        return ""
    return f"  {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _named(head: str, value: float | None) -> str:
    return f"  {head.replace('_', ' ')} {'-' if value is None else f'{value:.3f}'}"


def _word(value: Any, digits: int = 4) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
