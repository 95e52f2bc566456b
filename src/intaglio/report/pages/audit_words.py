"""Texts of an audit's report, for readers who know no statistics."""

import math

from intaglio.audit.membership.result import AuditResult, JudgedPicture
from intaglio.metrics.statistics.conformal import Threshold, needed_controls
from intaglio.metrics.statistics.roc import Separation, needed_holdouts
from intaglio.report.kit.format import area_interval, area_text, count, decimal, interval_text, rate_text
from intaglio.report.kit.views import Row
from intaglio.runs.read import RunData


def headline(audit: AuditResult) -> str:
    total, rate = len(audit.asked), rate_text(audit.threshold.asked_rate)
    if not audit.threshold.enough:
        return f"No verdict: {scored_controls(audit.threshold)} cannot support a false-positive rate of {rate}"
    if total == 1:
        state = "is" if audit.called else "is not"
        return f"The questioned picture {state} called “in the fine-tuning set”, at a false-positive rate of {rate}"
    noun = "questioned pictures are" if audit.called != 1 else "questioned pictures is"
    return f"{audit.called} of {total} {noun} called “in the fine-tuning set”, at a false-positive rate of {rate}"


def lead(audit: AuditResult) -> str:
    limit = audit.threshold
    if not limit.enough:
        twice = ", as scores to both sides of theirs count" if limit.sides == "both" else ""
        return (
            f"Pictures that cannot have been in the set (controls) tell how often the test would call a picture by "
            f"mistake. A rate of {rate_text(limit.asked_rate)} needs at least "
            f"{needed_controls(limit.asked_rate, limit.sides)} of them{twice}; with {scored_controls(limit)} nothing "
            f"below {rate_text(limit.attainable_rate)} can be claimed. The scores are shown, but no picture is called."
        )
    said = (
        f"Of pictures that were not in the set, the test calls at most {one_in(limit.asked_rate)} by mistake "
        f"({interval_text(limit.interval)} for {these(limit)}; calibrated on {count(limit.controls, 'control')}, "
        f"{limit.observed} of them {'above it' if limit.sides == 'upper' else limit.place})."
    )
    right = audit.known_truth
    return said if right is None else f"{said} Here the truth is known: {right.words}."


def these(limit: Threshold) -> str:
    """The threshold, or the two where both sides count."""
    return "this threshold" if limit.sides == "upper" else "these thresholds"


def scored_controls(limit: Threshold) -> str:
    """The number of controls, and of those with a score where they are not all."""
    every = count(limit.controls + limit.unscored, "control")
    return f"{every}, of which {limit.controls} have a score," if limit.unscored else every


def one_in(rate: float | int) -> str:
    """A rate in words: 1 in 20."""
    return f"1 in {round(1 / rate)}" if abs(1 / rate - round(1 / rate)) < 0.05 else f"{rate * 100:.3g} in 100"


def expected_by_chance(audit: AuditResult) -> str:
    if not audit.threshold.enough:
        return "no picture can be called"
    expected = audit.threshold.asked_rate * len(audit.asked)
    return f"about {decimal(expected, 2)} would be called if none had been used"


def loud(audit: AuditResult) -> list[str]:
    """Warnings that stand beside the headline."""
    messages = []
    unscored = [j.name for j in audit.questioned if math.isnan(j.score)]
    if unscored:
        messages.append(
            f"{count(len(unscored), 'questioned picture')} got no score and no verdict: {', '.join(unscored)}."
        )
    if audit.no_signal:
        messages.append(audit.no_signal)
    return messages


def how_to_read(audit: AuditResult) -> str:
    """Explanation of the cards, and of the score behind the verdict."""
    by = "score" if audit.threshold.sides == "upper" else "p-value"
    first = f"Sorted by {by}. "
    if len(audit.asked) < len(audit.questioned):
        first = f"Sorted by {by}, among pictures known not to be in the set, which measure the audit itself. "
    if (reading := audit.readings.get(audit.score_name)) is not None:
        first += f"The verdict rests on {audit.score_name}: {reading}. "
    first += _both_sides(audit)
    return (
        first
        + (
            audit.story
            or "This method gives no picture to look at beside the questioned one, so that only the score speaks."
        )
        + " The small scale shows where the score stands among the controls."
    )


def _both_sides(audit: AuditResult) -> str:
    """That low scores count as high ones do, where they do; else empty."""
    if audit.threshold.sides == "both":
        return (
            "Its sign is not stable: training moves it up in some models and down in others, so that a score to either "
            "side of the controls’ counts, and p is twice the smaller of the two sides’. "
        )
    if not audit.two_sided:
        return ""
    return f"Of {', '.join(audit.two_sided)} the distance from the middle counts, as its sign is not stable. "


def meaning(audit: AuditResult) -> str:
    """The words by the axis of scores."""
    if audit.threshold.sides == "upper":
        return "higher means more like a member"
    return "far to either side of the controls means more like a member"


def strip_text(audit: AuditResult) -> str:
    """The words below the scores of all pictures."""
    what = "further right" if audit.threshold.sides == "upper" else "further from the controls, to either side,"
    return f"Each mark is one picture; {what} means more like a member. Squares are called “in the set”."


def behind(audit: AuditResult) -> dict[str, str]:
    """The signals that the verdict rests on: their shown names, each with its name among a picture's signals."""
    own = f"{audit.method} score"
    if len(audit.weights) < 2:
        return {audit.score_name: audit.method if audit.score_name == own else audit.score_name}
    return {own if name == "score" else name: audit.method if name == "score" else name for name in audit.weights}


def score_label(audit: AuditResult) -> str:
    """The name of the verdict's score on a card."""
    return "combined score" if len(audit.weights) > 1 else audit.score_name


def similarity(audit: AuditResult, judged: JudgedPicture) -> str:
    """The similarity of a picture and its recovery, and its part in the verdict; empty where it was not measured."""
    names = behind(audit)
    if judged.similarity is None or "similarity" in names:
        return ""
    others = all(name in audit.readings and key != audit.method for name, key in names.items())
    part = "The verdict does not rest on it" if others else "It is not the score of the verdict"
    return f"Similarity of the picture and its recovery: {decimal(judged.similarity, 2)}. {part}."


def badge(judged: JudgedPicture, threshold: Threshold) -> str:
    if math.isnan(judged.score):
        return "no score"
    if judged.control:
        beyond = "above the threshold" if threshold.sides == "upper" else "beyond a threshold"
        return f"control, {beyond}" if threshold.beyond(judged.score) else "control"
    if judged.called is None:
        return "no verdict"
    return "in the set" if judged.called else "not called"


def truth(judged: JudgedPicture) -> tuple[str, bool]:
    """The known truth of a questioned picture as text, and whether the verdict is wrong."""
    if judged.control or judged.truth is None:
        return "", False
    known = "It was in the fine-tuning set" if judged.truth else "It was not in the fine-tuning set"
    if judged.called is None:
        return f"{known}.", False
    wrong = judged.called != judged.truth
    return f"{known}: {'the verdict is wrong' if wrong else 'the verdict is right'}.", wrong


def unshown(total: int, most: int) -> str:
    left = total - most
    return (
        f"The pictures of the {count(left, 'lower-scoring one')} lie in the run folder; their scores:"
        if left > 0
        else ""
    )


def controls_text(audit: AuditResult, shown: int) -> str:
    if not audit.controls:
        return "There were no controls, so nothing says how an unused picture would have scored."
    highest = "highest-scoring" if audit.threshold.sides == "upper" else "most extreme"
    return (
        f"The {shown} {highest} of {count(len(audit.controls), 'control')}, treated exactly as the questioned "
        f"pictures. This is how far the test goes for pictures that the suspect was not tuned on."
    )


def scores_text(audit: AuditResult) -> str:
    if not audit.threshold.enough:
        return "There is no threshold, since there are too few controls for the asked rate."
    beyond = f"{audit.threshold.observed} of {audit.threshold.controls}"
    if audit.threshold.sides == "both":
        return (
            f"The two thresholds are the scores that controls lie beyond rarely enough, to both sides alike: {beyond} "
            "lie outside them. They were set from the controls alone; the questioned pictures had no part in them."
        )
    return (
        f"The threshold is the score that controls exceed rarely enough: {beyond} lie above it. It was set from the "
        "controls alone; the questioned pictures had no part in it."
    )


def set_text(audit: AuditResult) -> str:
    test = audit.set_test
    if test.p_value is None:
        return "Not tested: it takes at least one questioned picture and one control with a score."
    how = "counting every way to mix them" if test.exact else "by random mixing"
    far = "so high" if test.sides == "upper" else "so far from the controls’, up or down"
    return (
        f"A rank test of {count(test.pictures, 'questioned picture')} against {count(test.controls, 'control')} "
        f"({how}) gives p = {decimal(test.p_value, 2)}: the chance of scores {far}, taken together, had none of "
        f"them been used. The smallest value that so many pictures could give is {decimal(test.smallest, 2)}."
    )


def roc_text(audit: AuditResult, measured: Separation) -> str:
    if measured.auc is None:
        return "Undefined here: a group is empty, or all scores are equal."
    by = "" if audit.threshold.sides == "upper" else " Pictures are ordered by p-value, as both sides count."
    return (
        f"{count(measured.members, 'picture')} known to have been in the set against {measured.holdouts} known not to "
        f"have been. With {measured.holdouts}, no false-positive rate below {rate_text(1 / measured.holdouts)} can be "
        f"seen.{by}"
    )


def roc_numbers(measured: Separation) -> list[Row]:
    interval = f" ({area_interval(measured.auc_interval)})" if measured.auc is not None else ""
    rows = [Row("AUC", area_text(measured.auc) + interval)]
    for rate, value in sorted(measured.tpr_at_fpr.items()):
        rows.append(Row(f"TPR at {rate_text(rate)} FPR", _tpr(measured, rate, value)))
    best = "undefined"
    if measured.best_accuracy is not None:
        best = f"{rate_text(measured.best_accuracy)}; an upper bound, its threshold is chosen on these very pictures"
    rows.append(Row("best accuracy", best))
    rows.append(
        Row("pictures", f"{measured.members} in the set, {measured.holdouts} not, {measured.left_out} without a score")
    )
    return rows


def _tpr(measured: Separation, rate: float, value: float | None) -> str:
    if value is not None:
        return f"{rate_text(value)} ({interval_text(measured.tpr_intervals.get(rate))})"
    if measured.auc is None:
        return "undefined"
    return f"too few: needs {needed_holdouts(rate)} pictures known not to be in the set, there are {measured.holdouts}"


def threat(run: RunData, audit: AuditResult) -> list[Row]:
    """The threat model: the inputs and the access that the audit used."""
    alone = bool((run.run.get("settings") or {}).get("alone"))
    return [
        Row("the suspect model", _model(run, "suspect"), place=_input_path(run, "suspect")),
        Row("its base", "not compared with" if alone else _model(run, "base"), place=_input_path(run, "base")),
        Row(
            "access",
            f"the weights of {'the suspect' if alone else 'both'}; an interface that gives only pictures is not enough",
        ),
        Row("prompt", _prompt_words(audit)),
        Row("questioned pictures", _questioned(audit)),
        Row(
            "controls",
            f"{count(len(audit.controls), 'picture')} that cannot have been in the set, by the auditor’s word",
        ),
        Row("method", audit.method),
        Row("score", score_made_of(audit)),
        Row("asked false-positive rate", rate_text(audit.threshold.asked_rate)),
        Row("needed of the fine-tuning set itself", "nothing; neither its pictures nor its size"),
    ]


def _prompt_words(audit: AuditResult) -> str:
    if audit.own_captions:
        return "each picture’s own caption"
    return f"“{audit.prompt}”" if audit.prompt else "the empty prompt"


def other_prompts(audit: AuditResult) -> list[Row]:
    """The verdicts under further prompts, a row each."""
    rows = []
    for one in audit.other_prompts:
        changed = (
            f"{one.changed} of {count(one.pictures, 'verdict')} would change" if one.changed else "no verdict changes"
        )
        name = f"“{one.prompt}”" if one.prompt else "the empty prompt"
        rows.append(Row(name, f"{one.called} of {count(one.pictures, 'picture')} called; {changed}"))
    return rows


def score_made_of(audit: AuditResult) -> str:
    """The score's name, and the signals that it was combined from."""
    if len(audit.weights) < 2:
        reading = audit.readings.get(audit.score_name)
        return f"{audit.score_name}: {reading}" if reading else audit.score_name
    named = {f"{audit.method} score" if name == "score" else name: share for name, share in audit.weights.items()}
    shares = ", ".join(f"{name} {rate_text(share)}" for name, share in named.items())
    return f"combined: {shares}; weighed by how these go together among the controls"


def _questioned(audit: AuditResult) -> str:
    others = len(audit.questioned) - len(audit.asked)
    known = f", and {count(others, 'picture')} known not to be in the set, to measure the audit" if others else ""
    return count(len(audit.asked), "picture") + known


def _input(run: RunData, name: str) -> dict:
    known = (run.run.get("inputs") or {}).get(name)
    return dict(known) if isinstance(known, dict) else {}


def _model(run: RunData, name: str) -> str:
    digest = str(_input(run, name).get("sha256") or "")
    return f"sha256 {digest[:16]}…" if digest else "not recorded"


def _input_path(run: RunData, name: str) -> str | None:
    path = _input(run, name).get("path")
    return None if path is None else str(path)


def limits(audit: AuditResult) -> list[Row]:
    """The limits of the evidence: those of every audit, and those of the method."""
    rate = one_in(audit.threshold.asked_rate)
    return [
        Row(
            "A manner is not a picture",
            "A model tuned on other works by the same hand fills any of that hand’s pictures better. Only controls of "
            "the same hand and kind tell the two apart; whether these controls are so is for the reader to check.",
        ),
        *(Row(name, words) for name, words in audit.limits.items()),
        Row(
            "Nothing about the base’s own training",
            "The test sees what the suspect learned after the base. A picture that the base already knew can look "
            "recovered without any fine-tuning, and one used only for the base is not found.",
        ),
        Row(
            "The right base and prompt are assumed",
            "With another base or another prompt than those of the fine-tuning, the score mixes in that difference, in "
            "either direction.",
        ),
        Row(
            "The suspect may have been made to defeat it",
            "Whoever tunes a model can train it to hide or to feign traces. “Not called” does not clear a model, "
            "and a weak or short fine-tuning leaves little to find.",
        ),
        Row(
            "Searching until it fits",
            "Trying prompts, crops, settings or sets of controls until a score rises makes the stated rate worthless. "
            "Settings must be fixed before looking; they are listed below.",
        ),
        Row(
            "Crops and copies",
            "Pictures are resized and cropped to the model’s square. If the fine-tuning saw other crops, or a "
            "near-copy from elsewhere, this very file need not have been the one that was used.",
        ),
        Row(
            "A rate, not a certainty",
            f"At {these(audit.threshold)} up to {rate} unused pictures is called. Ask about many pictures and some "
            f"will be called by chance; the test of all pictures together is not fooled by that.",
        ),
    ]
