"""`to_document` and `from_document`: an `EnergyProfile` as a table of plain values, and back, with every value checked.

Layers of networks name their family by its place in one list, in which the profiled families stand first. Numbers of
points are lists of equal length; floating-point numbers come back bit by bit, for JSON writes the shortest text that
does so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from intaglio.data_files import Fields, is_number, kind_of
from intaglio.energy.layers.kinds import KINDS
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step
from intaglio.energy.processes.family_process import TILES, FamilyFit
from intaglio.energy.processes.matern_process import LENGTH_BOUNDS, NOISE_BOUNDS, SIGNAL_BOUNDS, Hyper
from intaglio.energy.processes.size_scale import SizeScale
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile, ProfiledFamily
from intaglio.errors import BadInput
from intaglio.meters.domain import Provenance, Unit

COLUMNS = {
    "sizes": "sizes",
    "amounts": "amount_per_call",
    "variances": "amount_variance",
    "seconds": "seconds_per_call",
    "seconds_variances": "seconds_variance",
}
"""Arrays of a profiled family by their name in a file, with units: amounts are in the profile's own."""
MOST_POINTS = 2000
"""Most points of a family: the time of its process grows with their cube."""
MOST_LAYERS = 100_000
"""Most different layers of a network."""
LARGEST_SIZE, MOST_CALLS = 2**48, 2**40
LEAST_AMOUNT, LARGEST_AMOUNT = 1e-30, 1e30
"""Bounds of the size of a cost that is not 0, in J or s."""
PRECISIONS = ("float64", "float32", "float16", "bfloat16", "int64", "int32")
LONGEST = 500
"""Longest text, in characters, beside notes."""
ROUNDING = 1e-9
"""Relative error by which hyper-parameters may pass their bounds, as exponentials of logarithms do."""


def to_document(profile: EnergyProfile) -> dict[str, Any]:
    """A profile as tables, lists, texts and numbers."""
    inside = {layer.family for network in profile.calibration for layer in network.step.layers}
    own = [found.family for found in profile.families]
    families = [*own, *sorted(inside - set(own), key=repr)]
    place = {family: index for index, family in enumerate(families)}
    return {
        "unit": profile.unit,
        "provenance": str(profile.provenance),
        "made": profile.made,
        "device": dict(profile.device),
        "regime": dict(profile.regime),
        "meter": dict(profile.meter),
        "notes": list(profile.notes),
        "layer_families": [_family_table(family) for family in families],
        "families": [_profiled_table(found) for found in profile.families],
        "calibration": [_network_table(network, place) for network in profile.calibration],
    }


def from_document(document: Fields) -> EnergyProfile:
    """The profile of such a table. Raises `BadInput`, naming the place, for what is missing or cannot be."""
    families = tuple(map(_family, _tables(document, "layer_families")))
    profiled = _tables(document, "families")
    if len(set(families)) != len(families) or len(profiled) > len(families):
        raise _wrong(document, "holds a family of layers twice, or measured layers of no family")
    _check_attributes(document, families)
    return EnergyProfile(
        unit=document.text("unit", among=[str(unit) for unit in Unit]),
        provenance=document.text("provenance", among=[str(one) for one in Provenance]),
        families=tuple(_profiled(table, family) for table, family in zip(profiled, families, strict=False)),
        calibration=tuple(_network(table, families) for table in _tables(document, "calibration")),
        device=_facts(document, "device"),
        regime=_facts(document, "regime"),
        meter=_meter(document),
        made=_short(document, "made"),
        notes=_texts(document, "notes"),
    )


def _family_table(family: LayerFamily) -> dict[str, Any]:
    table = {field.name: getattr(family, field.name) for field in fields(LayerFamily)}
    return {**table, "attributes": dict(family.attributes), "fixed": dict(family.fixed)}


def _family(table: Fields) -> LayerFamily:
    attributes = table.table("attributes").values
    for value in attributes.values():
        if not isinstance(value, bool | int | str) or len(str(value)) > LONGEST:
            raise _wrong(table, f"has an attribute that is {kind_of(value)}, where a word or a whole number is due")
    fixed = table.table("fixed")
    kind = table.text("kind", among=KINDS)
    if unknown := set(fixed.values) - set(KINDS[kind].sizes):
        raise _wrong(table, f"fixes {min(unknown)!r}, which is no size of {kind}")
    return LayerFamily(
        kind,
        tuple(attributes.items()),
        tuple((name, fixed.whole(name, low=1, high=LARGEST_SIZE)) for name in fixed.values),
        **{name: table.flag(name) for name in ("train", "input_grad", "weight_grad")},
        dtype=table.text("dtype", among=PRECISIONS),
    )


def _check_attributes(document: Fields, families: Sequence[LayerFamily]) -> None:
    """Raises `BadInput` where an attribute of a kind is a word here and a number there: such families have no order."""
    words: dict[tuple[str, str], bool] = {}
    for family in families:
        for name, value in family.attributes:
            if words.setdefault((family.kind, name), isinstance(value, str)) != isinstance(value, str):
                raise _wrong(document, f"holds {name} of {family.kind} as a word and as a number")


def _profiled_table(found: ProfiledFamily) -> dict[str, Any]:
    return {
        "low": list(found.low),
        "high": list(found.high),
        "stopped": found.stopped,
        "kink": found.kink if found.kink is not None and math.isfinite(found.kink) else None,
        "additive": found.additive,
        "fit": _fit_table(found.fit),
        "time_fit": _fit_table(found.time_fit),
        **{column: getattr(found, name).tolist() for name, column in COLUMNS.items()},
    }


def _profiled(table: Fields, family: LayerFamily) -> ProfiledFamily:
    low, high = (_whole_row(table, name, table.values.get(name), len(family.free)) for name in ("low", "high"))
    if any(a > b for a, b in zip(low, high, strict=True)):
        raise _wrong(table, f"has bounds {list(low)} to {list(high)}, which are not in order")
    rows = table.values.get("sizes")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_POINTS:
        raise _wrong(table, f"lacks sizes of 1 to {MOST_POINTS} points")
    sizes = [_whole_row(table, "sizes", row, len(family.free)) for row in rows]
    for row in (low, high, *sizes):
        _check_counts(SizedLayer(family, row), table)
    columns = {name: np.array(table.numbers(column, count=len(rows))) for name, column in list(COLUMNS.items())[1:]}
    _check_columns(table, columns)
    return ProfiledFamily(
        family,
        low,
        high,
        np.array(sizes, np.int64).reshape(len(rows), len(family.free)),
        **columns,
        stopped=_short(table, "stopped"),
        kink=table.number("kink", None),
        additive=table.flag("additive"),
        fit=_fit(table.table("fit", None), low, high),
        time_fit=_fit(table.table("time_fit", None), low, high),
    )


def _check_columns(table: Fields, columns: Mapping[str, np.ndarray]) -> None:
    """Raises `BadInput` for variances below 0, and for numbers whose squares are no numbers."""
    for name, values in columns.items():
        size = np.sqrt(np.abs(values)) if name.endswith("variances") else np.abs(values)
        if name.endswith("variances") and values.min() < 0:
            raise _wrong(table, "has a variance below 0")
        if size.max() > LARGEST_AMOUNT or (size[size > 0]).min(initial=1.0) < LEAST_AMOUNT:
            raise _wrong(table, f"has {COLUMNS[name]} beyond every cost")


def _fit_table(fit: FamilyFit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    hyper = fit.hyper
    return {"tiles": list(fit.tiles), "lengths": list(hyper.lengths), "signal": hyper.signal, "noise": hyper.noise}


def _fit(table: Fields | None, low: tuple[int, ...], high: tuple[int, ...]) -> FamilyFit | None:
    if table is None:
        return None
    tiles = _whole_row(table, "tiles", table.values.get("tiles"), len(low))
    if not set(tiles) <= set(TILES):
        raise _wrong(table, f"has tiles {list(tiles)}; there are {', '.join(map(str, TILES))}")
    varied = SizeScale(low, high, tiles)(np.array([low], np.int64)).shape[1]
    lengths = table.numbers("lengths", count=varied)
    for length in lengths:
        _check_within(table, "a length scale", length, LENGTH_BOUNDS)
    signal, noise = table.number("signal"), table.number("noise")
    _check_within(table, "a signal's variance", signal, SIGNAL_BOUNDS)
    _check_within(table, "a noise's variance", noise, (0.0, NOISE_BOUNDS[1]))
    return FamilyFit(tiles, Hyper(tuple(lengths), signal, noise))


def _network_table(network: CalibrationNetwork, place: Mapping[LayerFamily, int]) -> dict[str, Any]:
    layers = [[place[layer.family], calls, *layer.sizes] for layer, calls in network.step.layers.items()]
    return {
        "name": network.name,
        "layers": layers,
        "unparsed": {name: float(numbers) for name, numbers in network.step.unparsed.items()},
        "notes": list(network.step.notes),
        "amount_per_step": network.amount,
        "amount_variance": network.variance,
        "seconds_per_step": network.seconds,
    }


def _network(table: Fields, families: Sequence[LayerFamily]) -> CalibrationNetwork:
    rows = table.values.get("layers")
    if not isinstance(rows, list) or len(rows) > MOST_LAYERS:
        raise _wrong(table, f"lacks layers, at most {MOST_LAYERS}")
    layers: dict[SizedLayer, int] = {}
    for row in rows:
        index, calls, *sizes = _whole_row(table, "layers", row, None, low=0)
        if index >= len(families) or len(sizes) != len(families[index].free) or not 1 <= calls <= MOST_CALLS:
            raise _wrong(table, f"has layer {row}, where a known family, calls and sizes are due")
        layer = SizedLayer(families[index], _whole_row(table, "layers", sizes, len(sizes)))
        _check_counts(layer, table)
        if layer in layers:
            raise _wrong(table, f"has layer {row} twice")
        layers[layer] = calls
    unparsed = table.table("unparsed")
    return CalibrationNetwork(
        _short(table, "name"),
        Step(layers, {name: unparsed.number(name, low=0.0) for name in unparsed.values}, _texts(table, "notes")),
        table.number("amount_per_step"),
        table.number("amount_variance", low=0.0),
        table.number("seconds_per_step"),
    )


def _check_counts(layer: SizedLayer, table: Fields) -> None:
    """Raises `BadInput` where attributes of a stranger's family do not give a layer's operations and bytes."""
    try:
        counts = (layer.flops, layer.bytes, float(layer.parameters))
        possible = layer.work > 0 and all(0 <= count < float("inf") for count in counts)
    except (ValueError, TypeError, ArithmeticError):
        possible = False
    if not possible:
        raise _wrong(table, f"has a {layer.family.kind} of sizes {list(layer.sizes)}, which cannot be")


def _meter(document: Fields) -> dict[str, Any]:
    facts = _facts(document, "meter")
    document.table("meter").number("relative_sd", None, low=0.0, high=10.0)
    document.table("meter").numbers("reference_history", ())
    return facts


def _facts(document: Fields, name: str) -> dict[str, Any]:
    """A flat table of words, numbers and lists of these."""
    table = document.table(name)
    for key, value in table.values.items():
        for one in value if isinstance(value, list) else [value]:
            plain = one is None or isinstance(one, bool) or is_number(one) or isinstance(one, str)
            if not plain or len(str(one)) > LONGEST:
                raise _wrong(table, f"has {key} that holds {kind_of(one)}, where a word or a number is due")
    return dict(table.values)


def _tables(table: Fields, name: str) -> list[Fields]:
    rows = table.values.get(name)
    if not isinstance(rows, list):
        raise _wrong(table, f"lacks the list {name}")
    return [Fields.of(row, f"{table.source}, {name} {index}", table.remedy) for index, row in enumerate(rows)]


def _texts(table: Fields, name: str) -> tuple[str, ...]:
    rows = table.values.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        raise _wrong(table, f"lacks the list of texts {name}")
    return tuple(rows)


def _short(table: Fields, name: str) -> str:
    text = table.text(name)
    if len(text) > LONGEST:
        raise _wrong(table, f"has {name} of {len(text)} characters; {LONGEST} are the most")
    return text


def _whole_row(table: Fields, name: str, row: Any, count: int | None, low: int = 1) -> tuple[int, ...]:
    whole = isinstance(row, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and low <= item <= LARGEST_SIZE for item in row
    )
    if not whole or (len(row) != count if count is not None else len(row) < 2):
        raise _wrong(
            table, f"has {name} that are not {'' if count is None else f'{count} '}whole numbers from {low} on"
        )
    return tuple(row)


def _check_within(table: Fields, what: str, value: float, bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not low * (1 - ROUNDING) <= value <= high * (1 + ROUNDING):
        raise _wrong(table, f"has {what} of {value:g}, where {low:g} to {high:g} is due")


def _wrong(table: Fields, what: str) -> BadInput:
    return BadInput(f"{table.source} {what}; {table.remedy}")
