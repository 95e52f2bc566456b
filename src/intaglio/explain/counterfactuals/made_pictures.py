"""Counterfactual pictures of networks that have learnt: values read, some set, and pictures drawn and measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.explain.counterfactuals.family import Changes, CounterfactualMaker, LearntPictures, Values
from intaglio.explain.counterfactuals.picture_measures import MeasuredAttribute
from intaglio.explain.counterfactuals.result import PARTS, Counterfactuals
from intaglio.images.image_set import ImageSet
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

KIND = "made"
"""Of the run's records, one a batch of pictures."""
Pictures = Float[Tensor, "n 3 h w"]


def counterfactuals(
    method: CounterfactualMaker,
    model: LearntPictures,
    images: ImageSet,
    table: AttributeTable,
    graph: AttributeGraph,
    shown: Sequence[int],
    changes: Mapping[str, float],
    measured: Mapping[int, MeasuredAttribute],
    *,
    run: Run = Run.none(),
    device: str = "cpu",
) -> Counterfactuals:
    """Some pictures before and after attributes are set, with what their attributes are said and measured to be.

    Args:
        method: that learnt; gives the batch.
        model: what it learnt.
        images: that it learnt from.
        table: of the same pictures, as it was learnt.
        graph: between the attributes.
        shown: places of the pictures that are made, one or more, such as `shown_places`.
        changes: values by attribute, in the table's units.
        measured: attributes that are measured, by place.
        run: progress, records and pictures; a killed call goes on after the last batch.
        device: where the model is.

    Raises:
        BadInput: for changes of what is no attribute.
        IntaglioError: for numbers that are not finite.
    """
    wanted = table.places(changes)
    cuts = [shown[first : first + method.batch] for first in range(0, len(shown), method.batch)]
    key = digest([method.key(images, table, graph), list(shown), dict(changes), repr(measured), method.batch])
    known = {name: one for name, one in run.recorded(KIND).items() if one.get("key") == key}
    with run.progress(len(cuts), KIND, len(known)) as progress:
        for number, cut in enumerate(cuts):
            if str(number) not in known:
                some, labels = images.pixels[list(cut)], table.scaled(table.values[list(cut)])
                drawn = made(model, some, labels, {k: torch.full((len(cut),), v) for k, v in wanted.items()}, device)
                _save(drawn, number * method.batch, run)
                known[str(number)] = {"key": key, **_numbers(drawn, table, measured)}
                run.record(KIND, str(number), known[str(number)])
                progress.advance()
    ordered = [known[str(number)] for number in range(len(cuts))]
    before, after, *seen = (
        np.concatenate([np.array(one[name], np.float64) for one in ordered])
        for name in ("told_before", "told_after", *PARTS)
    )
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise IntaglioError(f"{method.name} gives numbers that are not finite; lower --learning-rate")
    about = (method.name, method.reading, table.names, tuple(graph.edges), dict(changes))
    fits = tuple(measured[k].fit if k in measured else float("nan") for k in range(len(table.names)))
    measures = tuple(measured[k].measure if k in measured else "" for k in range(len(table.names)))
    numbers = (table.values[list(shown)], np.isin(shown, table.held), before, after, np.stack(seen))
    names, taught = tuple(images.names[k] for k in shown), int(table.taught.sum())
    learnt_from = len(images) if method.learns_unlabelled else taught
    return Counterfactuals(*about, names, learnt_from, taught, table.low, table.range, measures, fits, *numbers)


def shown_places(method: CounterfactualMaker, table: AttributeTable, count: int) -> list[int]:
    """Places of so many pictures to make, by which reading can be judged where some have no labels.

    Those held out come first, or, where none is, those with labels; then those without, if the method reads values off
    these, and then the rest.
    """
    judges = table.held or np.flatnonzero(table.labelled).tolist()
    able = [k for k, one in enumerate(table.labelled) if one or method.learns_unlabelled]
    return sorted(able, key=lambda k: (k not in judges, bool(table.labelled[k])))[:count]


class Made:
    """Pictures in [0, 1] and scaled values of one batch."""

    def __init__(self, values: tuple[Values, Values], pixels: tuple[Pictures, Pictures, Pictures]):
        self.before, self.after = values
        self.pixels = dict(zip(PARTS, pixels, strict=True))


@torch.no_grad()
def made(model: LearntPictures, pixels: Pictures, labels: Values, changes: Changes, device: str = "cpu") -> Made:
    """Pictures of a batch as they are, drawn again from what was read off, and drawn with some values set."""
    given = (2 * pixels - 1).to(device)
    values = model.read(given, labels.to(device))
    rest = model.rest(given, values)
    after = model.changed(values, {k: one.to(device) for k, one in changes.items()})
    before_drawn, after_drawn = ((model.drawn(rest, one).cpu() + 1) / 2 for one in (values, after))
    return Made((values.cpu(), after.cpu()), (pixels, before_drawn, after_drawn))


def _save(drawn: Made, first: int, run: Run) -> None:
    for part, several in drawn.pixels.items():
        for k, one in enumerate(several):
            run.save_image(f"{part}-{first + k}", one)


def _numbers(drawn: Made, table: AttributeTable, measured: Mapping[int, MeasuredAttribute]) -> dict[str, Any]:
    """Values before and after in the table's units, and measured ones of each part, where they are."""
    found: dict[str, Any] = {"told_before": table.unscaled(drawn.before).tolist()}
    found["told_after"] = table.unscaled(drawn.after).tolist()
    for part, pixels in drawn.pixels.items():
        found[part] = measured_values(pixels, len(table.names), measured).tolist()
    return found


def measured_values(
    pixels: Pictures, attributes: int, measured: Mapping[int, MeasuredAttribute]
) -> Float[ndarray, "n d"]:
    """Measured attributes of pictures in the table's units; NaN where one is not measured."""
    nothing = np.full(len(pixels), np.nan)
    return np.stack([measured[k](pixels) if k in measured else nothing for k in range(attributes)], 1)
