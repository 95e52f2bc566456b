"""`Spent`: what a window of work took, a figure a domain; only disjoint figures of one origin are added."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from intaglio.errors import IntaglioError, require
from intaglio.meters.domain import Domain, Provenance, Unit


class NoSum(IntaglioError):
    """Figures that have no sum: of two origins, of two units, of work that was shared, or none at all."""


@dataclass(frozen=True)
class Spent:
    """Figures of one window."""

    seconds: float
    """Length of the window by the monotonic clock."""
    amounts: Mapping[str, float]
    """Figure of each domain, in its unit."""
    domains: Mapping[str, Domain]

    def __getitem__(self, name: str) -> float:
        return self.amounts[name]

    def disjoint(self) -> dict[str, float]:
        """The figures of the domains that no other domain here contains."""
        names = set(self.domains)
        return {name: amount for name, amount in self.amounts.items() if not self.domains[name].inside & names}

    @property
    def kinds(self) -> frozenset[str]:
        """Origins of the disjoint figures: `measured`, `vendor-estimate`, `modelled`."""
        return frozenset(self.domains[name].provenance.kind for name in self.disjoint())

    def total(self, unit: Unit = Unit.JOULES) -> float:
        """The sum over disjoint domains of this unit. Raises `NoSum` where the sum would mean nothing."""
        within = self._of(unit)
        if not within.amounts:
            raise NoSum(f"no meter here gives {unit}")
        parts = within.disjoint()
        if shared := sorted(name for name in parts if self.domains[name].shared):
            raise NoSum(f"{' and '.join(shared)} was shared with others; state this work's share of it (attributed)")
        if len(within.kinds) > 1:
            words = ", ".join(f"{name} {self.domains[name].provenance}" for name in sorted(parts))
            raise NoSum(f"figures of different origins are not added: {words}; take one of them, or totals()")
        return sum(parts.values())

    def totals(self, unit: Unit = Unit.JOULES) -> dict[str, float]:
        """A sum for each origin, of disjoint domains that were not shared."""
        sums: dict[str, float] = {}
        for name, amount in self._of(unit).disjoint().items():
            if not self.domains[name].shared:
                kind = self.domains[name].provenance.kind
                sums[kind] = sums.get(kind, 0.0) + amount
        return sums

    def measured(self) -> "Spent":
        """The figures that were measured, without estimated and modelled ones."""
        domains = {name: domain for name, domain in self.domains.items() if domain.provenance.kind == "measured"}
        return Spent(self.seconds, {name: self.amounts[name] for name in domains}, domains)

    def attributed(self, shares: Mapping[str, float]) -> "Spent":
        """The same with a stated share in [0, 1] of some domains taken as this work's own, which makes them modelled.

        Raises `ValueError` for a share out of range, `KeyError` for an unknown domain.
        """
        amounts, domains = dict(self.amounts), dict(self.domains)
        for name, share in shares.items():
            require(0 <= share <= 1, f"the share of {name} must be in [0, 1], not {share}")
            amounts[name] *= share
            domains[name] = replace(domains[name], shared=False, provenance=Provenance.MODELLED)
        return Spent(self.seconds, amounts, domains)

    def __add__(self, other: "Spent") -> "Spent":
        """Both windows one after the other; domains that only one has are dropped, for their sum is not known."""
        both = self.domains.keys() & other.domains.keys()
        amounts = {name: self.amounts[name] + other.amounts[name] for name in both}
        return Spent(self.seconds + other.seconds, amounts, {name: self.domains[name] for name in both})

    def beside(self, other: "Spent") -> "Spent":
        """Figures of the same window by other meters, beside these; the length is this one's."""
        return Spent(self.seconds, {**other.amounts, **self.amounts}, {**other.domains, **self.domains})

    def within(self, whole: "Spent") -> "Spent":
        """These figures beside those of a meter of the whole machine, which contain the measured joules here."""
        names = frozenset(whole.domains)
        domains = {
            name: replace(domain, inside=domain.inside | names)
            if domain.provenance.kind == "measured" and domain.unit is Unit.JOULES
            else domain
            for name, domain in self.domains.items()
        }
        return Spent(self.seconds, self.amounts, domains).beside(whole)

    def _of(self, unit: Unit) -> "Spent":
        domains = {name: domain for name, domain in self.domains.items() if domain.unit is unit}
        return Spent(self.seconds, {name: self.amounts[name] for name in domains}, domains)
