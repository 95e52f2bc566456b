"""A verb with one method and a verb without, to try the command line on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from intaglio.verbs import Method, Verb

M = TypeVar("M")
CALLS: list[Any] = []
RAISES: list[BaseException] = []


@dataclass(frozen=True)
class Toy:
    """A toy method: it does nothing, in so many steps."""

    steps: int = 40
    """Steps, from 1."""
    half: Literal["left", "right"] = "left"
    """The half that is kept."""
    exact: bool = True
    """Whether it is exact."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Two decays."""
    limit: int | None = None
    """The most, or None."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")


@dataclass(frozen=True)
class Play(Generic[M]):
    """Play with a toy."""

    pictures: Path
    """A folder of pictures."""
    method: OmitArgPrefixes[M]
    prompt: str = ""
    """The prompt."""
    out: Path = Path("runs")
    """Where it goes."""

    def __call__(self) -> None:
        CALLS.append(self)
        if RAISES:
            raise RAISES.pop()


@dataclass(frozen=True)
class Tell:
    """Tell of a toy."""

    what: Annotated[Positional[str], tyro.conf.arg(metavar="WHAT")]
    """What to tell."""
    loud: bool = False
    """Louder."""

    def __call__(self) -> int:
        CALLS.append(self)
        return 3 if self.loud else 0


@dataclass(frozen=True, kw_only=True)
class Read(Generic[M]):
    """Read a page with a toy."""

    page: Annotated[Positional[str], tyro.conf.arg(metavar="PAGE")]
    """What to read."""
    method: OmitArgPrefixes[M]

    def __call__(self) -> None:
        CALLS.append(self)


VERBS = {
    "read": Verb(
        "toy:Read",
        "read with a toy",
        {"toy": Method("toy:Toy", "does nothing, in so many steps")},
        default="toy",
        operand="PAGE",
    ),
    "play": Verb("toy:Play", "play with a toy", {"toy": Method("toy:Toy", "does nothing, in so many steps")}),
    "game start": Verb(
        "toy:Play", "start a game", {"toy": Method("toy:Toy", "does nothing, in so many steps")}, default="toy"
    ),
    "game end": Verb("toy:Tell", "end a game", {}),
    "tell": Verb("toy:Tell", "tell of a toy", {}),
}
