"""Report page of `authenticate`: the verdict, each picture beside the controls, the limits of the numbers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from intaglio.audit.membership.result import ORIGINAL, AuditResult, JudgedPicture
from intaglio.metrics.statistics.conformal import Threshold, p_values
from intaglio.report.kit.axes import padded
from intaglio.report.kit.charts import Dot, Strip, p_value_plot, place_in_nulls, roc_plot, strip_plot
from intaglio.report.kit.format import area_interval, area_text, count, decimal, interval_text, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import AuditPage, Card, Key, RocView, Row, Shown
from intaglio.report.pages import audit_words as words
from intaglio.runs.read import RunData

MAX_CARDS = 60
"""Most questioned pictures that are shown; the others are listed."""
CONTROL_CARDS = 4


def page_of(run: RunData, page_folder: Path) -> AuditPage | None:
    """The page of an `authenticate` run; None where it has no verdict yet."""
    result = AuditResult.load(run.folder)
    return None if result is None else audit_page(run, result, page_folder)


def audit_page(run: RunData, audit: AuditResult, page_folder: Path) -> AuditPage:
    """The page of an `authenticate` run; `page_folder` is the folder of the HTML file."""
    questioned = audit.ranked(audit.questioned)
    controls = audit.ranked(audit.controls)[:CONTROL_CARDS]
    captions = _captions(audit)
    shown = questioned[:MAX_CARDS]
    album = Album(page_folder, len(captions) * (len(shown) + len(controls)), run=run.folder)
    maker = _CardMaker(audit, album, run.folder, captions)
    headline = words.headline(audit)
    return AuditPage(
        template="authenticate.html.j2",
        **title(run, headline),
        lead=words.lead(audit),
        keys=_keys(audit),
        loud=words.loud(audit),
        warnings=run.warnings,
        how_to_read=words.how_to_read(audit),
        questioned=[maker.card(j) for j in shown],
        rest=[_listed(j, audit.threshold) for j in questioned[MAX_CARDS:]],
        unshown=words.unshown(len(questioned), MAX_CARDS),
        controls=[maker.card(j) for j in controls],
        controls_text=words.controls_text(audit, len(controls)),
        scores_text=words.scores_text(audit),
        strip_wide=_strips(audit, 1040, "plot big"),
        strip_narrow=_strips(audit, 380, "plot small"),
        strip_text=words.strip_text(audit),
        p_values=_p_values(audit),
        set_text=words.set_text(audit),
        roc=_roc(audit),
        threat=words.threat(run, audit),
        other_prompts=words.other_prompts(audit),
        limits=words.limits(audit),
    )


def _captions(audit: AuditResult) -> dict[str, str]:
    """The kinds of pictures to show, the original first, each with its caption."""
    kept = {kind for judged in (*audit.questioned, *audit.controls) for kind in judged.images} - {ORIGINAL}
    known = {kind: words for kind, words in audit.captions.items() if kind in kept}
    return {ORIGINAL: "the picture", **known, **{kind: kind for kind in sorted(kept - set(known))}}


def css(judged: JudgedPicture) -> str:
    """Style-sheet class of a picture: `in` (called), `out` (questioned, not called) or `ctl` (a control)."""
    return "ctl" if judged.control else "in" if judged.called else "out"


class _CardMaker:
    def __init__(self, audit: AuditResult, album: Album, folder: Path, captions: Mapping[str, str]):
        self.audit, self.album, self.folder, self.captions = audit, album, folder, captions
        self.nulls = [c.score for c in audit.controls if math.isfinite(c.score)]
        scores = [j.score for j in (*audit.questioned, *audit.controls)]
        self.span = padded([s for s in scores if math.isfinite(s)])

    def card(self, judged: JudgedPicture) -> Card:
        truth, wrong = words.truth(judged)
        listed = _listed(judged, self.audit.threshold)
        return Card(
            name=judged.name,
            css=listed.css,
            badge=listed.badge,
            pictures=[Shown(self.album.thumb(self._path(judged, k)), words) for k, words in self.captions.items()],
            facts=self._facts(judged),
            score=listed.score,
            p_value=listed.p_value,
            place=self._score_among_controls(judged),
            aside=words.similarity(self.audit, judged),
            truth=truth,
            wrong=wrong,
        )

    def _path(self, judged: JudgedPicture, kind: str) -> Path | None:
        return self.folder / judged.images[kind] if kind in judged.images else None

    def _facts(self, judged: JudgedPicture) -> list[Row]:
        """The grounds of the verdict: the score with its p-value, and where it is a combined one, each signal."""
        rows = [Row(words.score_label(self.audit), decimal(judged.score, 3))]
        if not judged.control:
            rows.append(Row("p-value", decimal(judged.p_value, 2)))
        if len(behind := words.behind(self.audit)) > 1:
            rows += [self._signal(name, key, judged) for name, key in behind.items()]
        return rows

    def _signal(self, name: str, key: str, judged: JudgedPicture) -> Row:
        """One of several signals, with its p-value as if the verdict rested on it alone."""
        value = judged.signals.get(key, math.nan)
        if judged.control:
            return Row(name, decimal(value, 3))
        nulls = [control.signals.get(key, math.nan) for control in self.audit.controls]
        p = float(p_values([value], nulls, "both" if name in self.audit.two_sided else "upper")[0])
        return Row(name, f"{decimal(value, 3)} (p {decimal(p, 2)} alone)")

    def _score_among_controls(self, judged: JudgedPicture) -> Markup:
        if not math.isfinite(judged.score):
            return Markup("")
        return place_in_nulls(judged.score, self.nulls, self.audit.threshold.bounds, css(judged), self.span)


def _listed(judged: JudgedPicture, threshold: Threshold) -> Card:
    badge = words.badge(judged, threshold)
    return Card(judged.name, css(judged), badge, (), (), decimal(judged.score, 3), decimal(judged.p_value, 2))


def _keys(audit: AuditResult) -> list[Key]:
    total, limit = len(audit.asked), audit.threshold
    keys = [Key("Called “in the fine-tuning set”", f"{audit.called} of {total}", words.expected_by_chance(audit))]
    if limit.enough:
        rate = f"{interval_text(limit.interval)} at {words.these(limit)}; {count(limit.controls, 'control')}"
        keys.append(Key("False-positive rate, at most", rate_text(limit.asked_rate), rate))
    if audit.set_test.p_value is not None:
        smallest = f"smallest possible {decimal(audit.set_test.smallest, 2)}"
        keys.append(Key("All questioned pictures together, p", decimal(audit.set_test.p_value, 2), smallest))
    right = audit.known_truth
    if right is not None:
        keys.append(Key("Right, where the truth is known", f"{right.right} of {right.known}", right.words))
    if audit.separation is not None:
        auc, interval = audit.separation.auc, area_interval(audit.separation.auc_interval)
        keys.append(Key("AUC, where the truth is known", area_text(auc), interval if auc is not None else ""))
    return keys


def _dots(judged: Sequence[JudgedPicture]) -> list[Dot]:
    return [Dot(j.score, j.name, css(j)) for j in judged if math.isfinite(j.score)]


def _strips(audit: AuditResult, width: int, classes: str) -> Markup:
    known = [j for j in audit.questioned if j.truth is not None]
    unknown = [j for j in audit.questioned if j.truth is None]
    groups = {
        "questioned": unknown,
        "questioned, was in the set": [j for j in known if j.truth],
        "questioned, was not in the set": [j for j in known if not j.truth],
        "controls": list(audit.controls),
    }
    strips = [Strip(label, _dots(members)) for label, members in groups.items() if members]
    return strip_plot(strips, audit.threshold.bounds, f"{audit.score_name}, {words.meaning(audit)}", width, classes)


def _p_values(audit: AuditResult) -> Markup:
    dots = [Dot(j.p_value, j.name, css(j)) for j in audit.asked if j.p_value is not None and math.isfinite(j.p_value)]
    return p_value_plot(dots, audit.threshold.asked_rate, audit.threshold.attainable_rate)


def _roc(audit: AuditResult) -> RocView | None:
    measured = audit.separation
    if measured is None:
        return None
    curve = measured.roc or ((0.0, 0.0), (1.0, 1.0))
    return RocView(
        text=words.roc_text(audit, measured),
        linear=roc_plot(curve, measured.holdouts),
        log=roc_plot(curve, measured.holdouts, log=True),
        numbers=words.roc_numbers(measured),
    )
