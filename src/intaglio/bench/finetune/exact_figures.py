"""The figures of fine-tunes on exact ground: the share of worlds with a corruption stage, and the dips of each form."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from intaglio.adapt.corruption import dip, stages
from intaglio.bench.finetune.affine_course import AffineCourse
from intaglio.bench.finetune.exact_grid import BASE, COURSES, ExactGrid, name_of
from intaglio.bench.finetune.exact_ground import NO_LABEL, Mixtures
from intaglio.bench.finetune.exact_stage import GUIDANCES, LABEL, Course, course_of, judgement, training_points
from intaglio.bench.finetune.figures import estimate, reduction
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

TIMES = (0.0, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
"""Times of the affine course, in units of steps times rate."""
AFFINE = "affine, closed form"
"""Name of the row of the affine course, plain and Bayesian in one."""


def exact_figures(run: Run, grid: ExactGrid) -> dict[str, Any]:
    """Reductions of the dip over all regimes, by form and guidance, then each regime's figures by form."""
    courses = {key: _course(row) for key, row in run.recorded(COURSES).items()}
    found: dict[str, Any] = {}
    for guidance in GUIDANCES:
        dips = _dips(grid, courses, guidance)
        found[f"dip_plain_guidance_{guidance}"] = float(dips["plain"].mean())
        for form in (name for name in dips if name != "plain"):
            name = f"dip_reduction_{form.replace(' ', '_')}_guidance_{guidance}"
            found |= estimate(name, reduction, (dips["plain"], dips[form]))
    return {
        **found,
        "base_error": float(np.mean(run.recorded(BASE)["error"]["shares"])),
        "worlds": grid.worlds,
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "by_regime": {
            AFFINE: {"plain": figures_of_course(affine_course(grid.worlds))},
            **{
                name: {form: figures_of_course(courses[f"{name}/{form}"]) for form in grid.forms(regime)}
                for name, regime in ((name_of(regime), regime) for regime in grid.regimes)
            },
        },
    }


def exact_summary(figures: Mapping[str, Any]) -> str:
    """A line a regime, form and guidance, below the headline figures."""
    lines = [f"{name:>44}  {value:.3g}" for name, value in figures.items() if isinstance(value, float | int)]
    lines.append(f"{'regime, form, guidance':<66} stage ended   dip  best final  noise (base most last)  across")
    for name, forms in figures["by_regime"].items():
        for form, row in forms.items():
            for guidance in GUIDANCES:
                lines.append(f"{f'{name}, {form}, {guidance}':<66} {_line(row, guidance)}")
    return "\n".join(lines)


def _line(row: Mapping[str, Any], guidance: int) -> str:
    if row["diverged"] == 1:
        return "diverged in every world"
    at = row[f"guidance {guidance}"]
    names = ("stage", "ended", "dip", "best", "final")
    noises = " ".join(f"{at[name]:7.4f}" for name in ("noise_base", "noise_most", "noise_last"))
    return f"{' '.join(f'{at[name]:5.2f}' for name in names)} {noises}  {row['across_most']:.2f}"


def figures_of_course(course: Course) -> dict[str, Any]:
    """Shares of the worlds that the option's rule calls a stage in, and means or medians of the rest over the worlds.

    A world whose fine-tune diverged is left out of all but `diverged`; where all did, that is the only figure.
    """
    kept = [int(world) for world in torch.stack(list(course.measures.values())).isfinite().all(0).all(0).nonzero()]
    diverged = 1 - len(kept) / course.measures["across"].shape[1]
    if not kept:
        return {"diverged": diverged}
    by_guidance = {f"guidance {guidance}": _at_guidance(course, guidance, kept) for guidance in GUIDANCES}
    steps = {"steps": list(course.steps)}
    return {
        "diverged": diverged,
        **steps,
        **_widths(course, "along", kept),
        **_widths(course, "across", kept),
        **by_guidance,
    }


def _widths(course: Course, side: str, kept: Sequence[int]) -> dict[str, float]:
    """The largest and the last learned width over the base's, as medians."""
    ratios = course.measures[side][:, kept] / course.measures[side][0, kept]
    return {f"{side}_most": float(ratios.amax(0).median()), f"{side}_last": float(ratios[-1].median())}


def _at_guidance(course: Course, guidance: int, kept: Sequence[int]) -> dict[str, Any]:
    curves = [course.judgements(guidance, world) for world in kept]
    falls = [dip(course.steps, [now.fidelity for now in curve]) for curve in curves]
    called = [stages(curve) for curve in curves]
    ended = [found[-1].last < course.steps[-1] for found in called if found]
    likeness, noise = (course.measures[f"{name} {guidance}"][:, kept] for name in ("likeness", "noise"))
    return {
        "stage": len(ended) / len(kept),
        "ended": sum(ended) / len(kept),
        "dip": float(np.mean([fall.depth for fall in falls])),
        "dip_lasting": float(np.mean([fall.lasting for fall in falls])),
        "best": float(np.mean([max(now.fidelity for now in curve) for curve in curves])),
        "final": float(np.mean([curve[-1].fidelity for curve in curves])),
        "distance": float(course.measures[f"distance {guidance}"][-1, kept].mean()),
        "noise_base": float(noise[0].median()),
        "noise_most": float(noise.amax(0).median()),
        "noise_last": float(noise[-1].median()),
        "likeness_curve": [round(value, 3) for value in likeness.mean(1).tolist()],
        "noise_curve": [round(value, 4) for value in noise.median(1).values.tolist()],
    }


def _dips(grid: ExactGrid, courses: Mapping[str, Course], guidance: int) -> dict[str, NDArray[np.float64]]:
    """Each world's dip by form, as means over the regimes in which no form and world diverged."""
    found: dict[str, list[list[float]]] = {}
    for regime in grid.regimes:
        forms = {form: courses[f"{name_of(regime)}/{form}"] for form in grid.forms(regime)}
        if not all(part.isfinite().all() for course in forms.values() for part in course.measures.values()):
            continue
        for form, course in forms.items():
            likeness = course.measures[f"likeness {guidance}"].T.tolist()
            found.setdefault(form, []).append([dip(course.steps, values).depth for values in likeness])
    return {form: np.mean(rows, 0) for form, rows in found.items()}


def affine_course(worlds: int) -> Course:
    """The course of affine denoisers that are exact for the label's own data, guided by the exact mixture."""
    mixtures, points = Mixtures.drawn(worlds), training_points(worlds, 1)

    def denoiser(time: float, world: int):
        tuned = AffineCourse(mixtures.means[world, LABEL], mixtures.variances, points[world, 0], time)
        alone = Mixtures(mixtures.means[world : world + 1], mixtures.variances)

        def predict(x: Float[Tensor, "1 n d"], t: Tensor, labels: Tensor) -> Float[Tensor, "1 n d"]:
            return alone.noise(x, t, labels) if (labels == NO_LABEL).all() else tuned(x[0], t[0])[None]

        return predict

    rows = [[judgement(denoiser(time, world), points[world : world + 1]) for world in range(worlds)] for time in TIMES]
    joined = [{name: torch.cat([one[name] for one in row]) for name in row[0]} for row in rows]
    return course_of(range(len(TIMES)), joined)


def _course(row: Mapping[str, Any]) -> Course:
    return Course(row["steps"], {name: torch.tensor(values) for name, values in row["measures"].items()})
