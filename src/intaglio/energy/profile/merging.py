"""`merged`: profiles of one machine and session as one, brought to one scale by the families that they share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import cho_factor, cho_solve

from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile, ProfiledFamily
from intaglio.energy.profile.fingerprint import Fingerprint, differences
from intaglio.energy.profile.known_fits import cost_process, with_fits
from intaglio.energy.profile.profile_document import MOST_POINTS
from intaglio.errors import BadInput, require
from intaglio.meters.domain import Provenance

FACTOR_BOUNDS = (0.8, 1.25)
"""Factors between a source and the first one that two meters of one machine may differ by."""
LEAST_VARIANCE = 1e-12
"""Least squared relative error of a cost."""


@dataclass(frozen=True, eq=False)
class LogRatios:
    """Logarithms of a source's costs over those of the sources before it, at the same layers."""

    values: Float[ndarray, "n"]
    covariance: Float[ndarray, "n n"]


@dataclass(frozen=True)
class SourceScale:
    """Factor between the amounts of one source and those of the sources before it."""

    factor: float
    relative_sd: float
    shared: int
    """Layers and networks that both sides measured, by which the factor is known."""


@dataclass(frozen=True, eq=False)
class MergedProfile:
    """A profile made from several, and the factors that the second and further ones were divided by."""

    profile: EnergyProfile
    scales: tuple[SourceScale, ...]


def merged(sources: Sequence[EnergyProfile]) -> MergedProfile:
    """One profile from the points of several.

    The amounts of each source but the first are divided by one factor, the generalised least-squares mean of log ratios
    to the sources before it: at layers of shared families, whose costs there are known with the joint covariance of
    their process, and of shared networks. Its error is widened where the ratios differ by more than theirs, and added
    to the variance of the source's points. Seconds stay as they are. Points of equal sizes are averaged by their
    precision.

    Args:
        sources: two or more profiles of an equal device, regime, unit and kind of provenance.

    Raises:
        BadInput: sources of two machines, sessions, units, isolations or kinds of provenance; one that shares no
            measured layers with those before it, or whose factor lies outside [0.8, 1.25]; more points in a family than
            a file holds.
        ValueError: fewer than two sources.
    """
    require(len(sources) >= 2, "two profiles or more are needed for one from them")
    for number, source in enumerate(sources[1:], 2):
        _check_alike(sources[0], source, number)
    whole, scales = with_fits(sources[0]), list[SourceScale]()
    for number, source in enumerate(sources[1:], 2):
        scale = _scale_of(whole, with_fits(source), number)
        scales.append(scale)
        whole = with_fits(_joined(whole, _scaled(source, scale), number, scale))
    return MergedProfile(whole, tuple(scales))


def _check_alike(one: EnergyProfile, other: EnergyProfile, number: int) -> None:
    source = f"profile {number} cannot be merged with those before it"
    if one.unit != other.unit:
        raise BadInput(f"{source}: amounts in {one.unit} and in {other.unit}; merge those of one unit")
    kinds = [Provenance(profile.provenance).kind for profile in (one, other)]
    if kinds[0] != kinds[1]:
        raise BadInput(f"{source}: {kinds[0]} and {kinds[1]} amounts have no common scale; merge those of one kind")
    if apart := differences(Fingerprint(one.device, one.regime), Fingerprint(other.device, other.regime)):
        raise BadInput(f"{source}: another machine or session ({'; '.join(apart.values())}); merge those of one only")
    ways = [profile.meter.get("isolation", "slope") for profile in (one, other)]
    if ways[0] != ways[1]:
        raise BadInput(f"{source}: layers isolated by {ways[0]} and by {ways[1]}; merge those of one isolation")


def _scale_of(whole: EnergyProfile, source: EnergyProfile, number: int) -> SourceScale:
    ratios = [found for pair in _shared(whole, source) if (found := _of_family(*pair)) is not None]
    ratios += [_of_networks(a, b) for a in whole.calibration for b in source.calibration if _same(a, b)]
    if not ratios:
        raise BadInput(
            f"profile {number} shares no measured family or network with those before it, so that its scale is not "
            "known; profile one family in both"
        )
    scale = pooled_factor(ratios)
    if not FACTOR_BOUNDS[0] <= scale.factor <= FACTOR_BOUNDS[1]:
        raise BadInput(
            f"profile {number} measures {scale.factor:.3g} times what those before it measure, outside of "
            f"{FACTOR_BOUNDS[0]:g} to {FACTOR_BOUNDS[1]:g}: they are not of one meter and state; profile again"
        )
    return scale


def pooled_factor(groups: Sequence[LogRatios]) -> SourceScale:
    """The generalised least-squares mean of correlated log ratios, as a factor.

    m = Σ 1ᵀC⁻¹d / Σ 1ᵀC⁻¹1 over groups (d, C), with variance max(1, χ²/(n - 1)) / Σ 1ᵀC⁻¹1.
    """
    solved = [(one.values, cho_factor(one.covariance, lower=True)) for one in groups]
    weight = sum(float(cho_solve(factor, np.ones_like(d)).sum()) for d, factor in solved)
    mean = sum(float(cho_solve(factor, d).sum()) for d, factor in solved) / weight
    misfit = sum(float((d - mean) @ cho_solve(factor, d - mean)) for d, factor in solved)
    count = sum(len(d) for d, _ in solved)
    return SourceScale(math.exp(mean), math.sqrt(max(1.0, misfit / max(1, count - 1)) / weight), count)


def _shared(whole: EnergyProfile, source: EnergyProfile) -> list[tuple[ProfiledFamily, ProfiledFamily]]:
    pairs = [(whole.of(found.family), found) for found in source.families]
    return [(one, other) for one, other in pairs if one is not None]


def _of_family(one: ProfiledFamily, other: ProfiledFamily) -> LogRatios | None:
    """Log ratios of `other` over `one`, at the points of either that lie within the other's bounds."""
    if (found := _against(one, other)) is not None:
        return found
    if (found := _against(other, one)) is not None:
        return LogRatios(-found.values, found.covariance)
    return None


def _against(known: ProfiledFamily, points: ProfiledFamily) -> LogRatios | None:
    """Log ratios of measured points over the process of a known family; None where no point is within its bounds."""
    process, kept = cost_process(known), points.points.resolved
    if process is None or not len(kept.costs):
        return None
    inside = process.scale.excess(kept.sizes) <= 1
    if not inside.any():
        return None
    sizes, costs, variances = kept.sizes[inside], kept.costs[inside], kept.variances[inside]
    expected, covariance = process.joint(sizes)
    logarithmic = np.log1p(covariance / np.outer(expected, expected))
    values = np.log(costs) - np.log(expected) + np.diagonal(logarithmic) / 2
    noise = variances / costs**2 + process.trend.spread**2 * process.process.hyper.noise
    return LogRatios(values, logarithmic + np.diag(np.maximum(noise, LEAST_VARIANCE)))


def _of_networks(one: CalibrationNetwork, other: CalibrationNetwork) -> LogRatios:
    variance = one.variance / one.amount**2 + other.variance / other.amount**2
    ratio = math.log(other.amount / one.amount)
    return LogRatios(np.array([ratio]), np.array([[max(variance, LEAST_VARIANCE)]]))


def _same(one: CalibrationNetwork, other: CalibrationNetwork) -> bool:
    equal = one.step.layers == other.step.layers and one.step.unparsed == other.step.unparsed
    return equal and one.amount > 0 and other.amount > 0


def _scaled(source: EnergyProfile, scale: SourceScale) -> EnergyProfile:
    """A source with its amounts divided by its factor, whose error joins their variance."""
    factor, error = scale.factor, scale.relative_sd
    families = tuple(
        replace(one, amounts=one.amounts / factor, variances=(one.variances + (error * one.amounts) ** 2) / factor**2)
        for one in source.families
    )
    networks = tuple(
        replace(one, amount=one.amount / factor, variance=(one.variance + (error * one.amount) ** 2) / factor**2)
        for one in source.calibration
    )
    return replace(source, families=families, calibration=networks)


def _joined(whole: EnergyProfile, source: EnergyProfile, number: int, scale: SourceScale) -> EnergyProfile:
    own = {one.family: one for one in source.families}
    families = [_pooled(one, own.pop(one.family)) if one.family in own else one for one in whole.families]
    accuracy = {"relative_sd": max(float(one.meter.get("relative_sd", 0.05)) for one in (whole, source))}
    order = list(Provenance)
    note = (
        f"profile {number}, made {source.made or 'at an unknown time'}, by {source.meter.get('name', 'no named meter')}"
        f": amounts divided by {scale.factor:.4f} (sd {scale.relative_sd:.2%})"
    )
    return replace(
        whole,
        provenance=str(max(map(Provenance, (whole.provenance, source.provenance)), key=order.index)),
        families=(*families, *own.values()),
        calibration=_networks(whole.calibration, source.calibration),
        meter={**whole.meter, **accuracy},
        made=max(whole.made, source.made),
        notes=tuple(dict.fromkeys((*whole.notes, *source.notes, note))),
    )


def _networks(
    some: tuple[CalibrationNetwork, ...], others: tuple[CalibrationNetwork, ...]
) -> tuple[CalibrationNetwork, ...]:
    """Networks of both; equal ones are averaged."""
    found = list(some)
    for other in others:
        index = next((k for k, one in enumerate(found) if _same(one, other)), None)
        if index is None:
            found.append(other)
            continue
        one = found[index]
        amount, variance = _averaged([one.amount, other.amount], [one.variance, other.variance])
        found[index] = replace(one, amount=amount, variance=variance, seconds=(one.seconds + other.seconds) / 2)
    return tuple(found)


def _pooled(one: ProfiledFamily, other: ProfiledFamily) -> ProfiledFamily:
    """The points of both, within the bounds of both; fits are to be found again."""
    sizes = np.concatenate([one.sizes, other.sizes])
    rows, place = np.unique(sizes, axis=0, return_inverse=True) if sizes.shape[1] else (sizes[:1], np.zeros(len(sizes)))
    if len(rows) > MOST_POINTS:
        raise BadInput(f"{one.family} would have {len(rows)} points, and a profile holds {MOST_POINTS}; merge fewer")
    columns = {}
    for values, spread in (("amounts", "variances"), ("seconds", "seconds_variances")):
        y, v = (np.concatenate([getattr(one, name), getattr(other, name)]) for name in (values, spread))
        groups = [place.ravel() == index for index in range(len(rows))]
        pairs = [_averaged(y[group].tolist(), v[group].tolist()) for group in groups]
        columns |= {values: np.array([mean for mean, _ in pairs]), spread: np.array([of for _, of in pairs])}
    bounds = zip(one.low, one.high, other.low, other.high, strict=True)
    box = [(min(a, c), max(b, d)) for a, b, c, d in bounds]
    kinks = [found.kink for found in (one, other) if found.kink is not None]
    return ProfiledFamily(
        one.family,
        tuple(low for low, _ in box),
        tuple(high for _, high in box),
        rows,
        **columns,
        stopped="; ".join(dict.fromkeys(words for words in (one.stopped, other.stopped) if words)),
        kink=max(kinks, key=abs, default=None),
        additive=one.additive and other.additive,
    )


def _averaged(values: Sequence[float], variances: Sequence[float]) -> tuple[float, float]:
    """Mean weighted by precision, and its variance; of one value that value itself."""
    if len(values) == 1:
        return values[0], variances[0]
    weights = [
        1 / max(variance, LEAST_VARIANCE * value**2, 1e-300) for value, variance in zip(values, variances, strict=True)
    ]
    total = sum(weights)
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / total, 1 / total
