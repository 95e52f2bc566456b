"""`Changes`: mechanisms that change with a context, and the tests and rules behind each edge of the graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from intaglio.data_files import shown

ContextKind = Literal["time", "domain"]
EdgeRule = Literal["context", "knowledge", "invariance", "collider", "Meek", "independent changes", "nearest DAG"]
RULE_WORDS: Mapping[EdgeRule, str] = {
    "context": "the mechanism changes with the context, which nothing causes",
    "knowledge": "known beforehand",
    "invariance": "one end changes with the context and the other does not",
    "collider": "two causes that are independent without their effect",
    "Meek": "any other direction would make a cycle or a new collider",
    "independent changes": "this way cause and mechanism change independently",
    "nearest DAG": "no graph fits all tests; the nearest one has it so",
}
"""Rules by which edges are oriented, in words."""
PHASES: Mapping[EdgeRule, int] = {
    "context": 1,
    "knowledge": 2,
    "invariance": 2,
    "collider": 2,
    "Meek": 2,
    "independent changes": 3,
    "nearest DAG": 2,
}
"""The phase of the search that a rule belongs to."""


@dataclass(frozen=True)
class PairTest:
    """The decision about one pair: two variables, or a variable and the context, which comes second."""

    first: str
    second: str
    adjacent: bool
    p: float | None
    """The largest p-value over the pair's tests, in [0, 1]; None where knowledge decided."""
    given: tuple[str, ...] | None = None
    """The set that separates the pair; None for an adjacent one."""


@dataclass(frozen=True)
class EdgeReason:
    """The rule that oriented an edge of the graph."""

    source: str
    target: str
    rule: EdgeRule


@dataclass(frozen=True)
class SinkChoice:
    """A choice by independent changes: the one of some changing variables that is the effect of its neighbours."""

    sink: str
    tails: tuple[str, ...]
    """Its neighbours by undirected edges."""
    score: float
    """Dependence in [0, 1] between the changes of P(sink | causes) and of P(causes)."""
    runner_up: float
    """The least dependence that any other of the variables has, in [0, 1]."""
    share: float
    """Share in [0, 1] of resamples of the context that give the same sink."""
    shared: float
    """Absolute correlation in [0, 1] of the leading components of the two changes."""
    regimes: int
    """Independent regimes of the context."""
    accepted: bool
    """Whether the edges were oriented so."""
    why: str = ""
    """Reason why they were not."""


@dataclass(frozen=True)
class DrivingForce:
    """Principal components of a changing mechanism's embedding, as curves over the context; scale and sign are free."""

    variable: str
    causes: tuple[str, ...]
    at: tuple[float, ...] | tuple[str, ...]
    """Points of the context: times, or names of domains."""
    components: tuple[tuple[float, ...], ...]
    """At most three curves, a value for each point."""
    shares: tuple[float, ...]
    """Share in [0, 1] of the change's variance that each curve has."""


@dataclass(frozen=True)
class Changes:
    """The mechanisms of a `Discovery` that change with a context, with every test and rule."""

    context: str
    """The column of regimes or times; empty for the order of the rows."""
    kind: ContextKind
    test: str
    """The independence test."""
    alpha: float
    """Level in (0, 1) of the tests."""
    changing: tuple[str, ...]
    """Variables whose mechanism changes with the context."""
    tests: int
    """Number of independence tests."""
    pairs: tuple[PairTest, ...] = ()
    reasons: tuple[EdgeReason, ...] = ()
    choices: tuple[SinkChoice, ...] = ()
    forces: tuple[DrivingForce, ...] = ()
    unfinished: bool = False
    """Whether the time limit ended the search, so that edges may be left that further tests would remove."""

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Changes":
        """The changes that `dataclasses.asdict` was called on.

        Raises:
            KeyError, TypeError, ValueError: they are none.
        """
        forces = tuple(_force(entry) for entry in plain["forces"])
        return cls(
            context=_text(plain["context"]),
            kind=_one_of(plain["kind"], get_args(ContextKind)),
            test=_text(plain["test"]),
            alpha=float(plain["alpha"]),
            changing=_texts(plain["changing"]),
            tests=int(plain["tests"]),
            pairs=tuple(_pair(entry) for entry in plain["pairs"]),
            reasons=tuple(_reason(entry) for entry in plain["reasons"]),
            choices=tuple(_choice(entry) for entry in plain["choices"]),
            forces=forces,
            unfinished=bool(plain["unfinished"]),
        )

    @property
    def where(self) -> str:
        """The context in words."""
        return repr(self.context) if self.context else "the order of the rows"

    def rule_of(self, source: str, target: str) -> EdgeRule | None:
        """The rule that oriented source → target; None where that is no arrow."""
        return next((one.rule for one in self.reasons if (one.source, one.target) == (source, target)), None)

    def p_of(self, first: str, second: str) -> float | None:
        """The largest p-value of a pair, in either order; None where none was tested."""
        return next((one.p for one in self.pairs if {one.first, one.second} == {first, second}), None)


def _pair(plain: Mapping[str, Any]) -> PairTest:
    p, given = plain["p"], plain["given"]
    return PairTest(
        _text(plain["first"]),
        _text(plain["second"]),
        bool(plain["adjacent"]),
        None if p is None else float(p),
        None if given is None else _texts(given),
    )


def _reason(plain: Mapping[str, Any]) -> EdgeReason:
    return EdgeReason(_text(plain["source"]), _text(plain["target"]), _one_of(plain["rule"], get_args(EdgeRule)))


def _choice(plain: Mapping[str, Any]) -> SinkChoice:
    return SinkChoice(
        sink=_text(plain["sink"]),
        tails=_texts(plain["tails"]),
        **{name: float(plain[name]) for name in ("score", "runner_up", "share", "shared")},
        regimes=int(plain["regimes"]),
        accepted=bool(plain["accepted"]),
        why=_text(plain["why"]),
    )


def _force(plain: Mapping[str, Any]) -> DrivingForce:
    at = plain["at"]
    return DrivingForce(
        variable=_text(plain["variable"]),
        causes=_texts(plain["causes"]),
        at=_texts(at) if at and isinstance(at[0], str) else tuple(map(float, at)),
        components=tuple(tuple(map(float, curve)) for curve in plain["components"]),
        shares=tuple(map(float, plain["shares"])),
    )


def _one_of(value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"{shown(value)} is none of {', '.join(choices)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} where a text is due")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{shown(value)} where a list of texts is due")
    return tuple(map(_text, value))
