"""`UnitCodes`: the packed weights of a unit, which a run keeps as soon as they are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from intaglio.data_files import Fields
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.runs.run import Run
from intaglio.shrink.units import DenoiserUnit

DECIDED = 0.01
"""Most of a unit's choices that may be unmade when they are hardened."""


@dataclass(frozen=True, eq=False)
class UnitCodes:
    """The packed weights of one unit, and how well they were learned."""

    weights: Mapping[str, PackedWeight]
    """By their names in the denoiser."""
    undecided: float = 0.0
    """Share of the choices that were not made when they were hardened."""
    better: bool = True
    """Whether they serve the unit better than the nearest codes, which they else are."""


def state_of(place: int) -> str:
    """Name of the state of a unit."""
    return f"unit-{place}"


def store_codes(run: Run, place: int, unit: DenoiserUnit, codes: UnitCodes) -> None:
    """Keeps a unit's codes."""
    tensors, facts = {}, {}
    for key, (name, one) in enumerate(codes.weights.items()):
        tensors |= {f"{key}/{field}": tensor for field, tensor in one.tensors().items()}
        facts[name] = one.facts()
    about = {"unit": unit.path, "undecided": codes.undecided, "better": codes.better, "weights": facts}
    run.save_state(state_of(place), tensors, about)


def stored_codes(run: Run, place: int) -> UnitCodes | None:
    """A unit's codes that a run keeps; None where it keeps none."""
    if (known := run.load_state(state_of(place))) is None:
        return None
    tensors, facts = known
    weights = {}
    for key, (name, about) in enumerate(facts["weights"].items()):
        own = {path.partition("/")[2]: t for path, t in tensors.items() if path.partition("/")[0] == str(key)}
        fields = Fields.of(about, f"state {state_of(place)}, {name}", "delete the run's folder")
        weights[name] = PackedWeight.read(fields, own)
    return UnitCodes(weights, float(facts["undecided"]), bool(facts["better"]))


def remarks(units: Sequence[tuple[DenoiserUnit, UnitCodes]]) -> Iterator[str]:
    """Sentences on units that were not learned well."""
    open_ones = [(unit.path, codes.undecided) for unit, codes in units if codes.undecided > DECIDED]
    if open_ones:
        path, share = max(open_ones, key=lambda one: one[1])
        yield (
            f"{len(open_ones)} of {len(units)} units had roundings that were not settled when they were fixed, {path} "
            f"{share:.1%} of them; give more iterations, or a higher penalty"
        )
    if lost := [unit.path for unit, codes in units if not codes.better]:
        yield (
            f"{len(lost)} of {len(units)} units keep the nearest codes, since learned ones were no better on rows that "
            f"were held back ({lost[0]}); give more calibration rows"
        )
