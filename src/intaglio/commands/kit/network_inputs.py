"""Inputs of commands that explain a classifier's score."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from intaglio.commands.kit.inputs import described
from intaglio.commands.kit.picture_sides import check_resolution, picture_side
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.models.scored_network import ScoredNetwork

Score = Literal["log-odds", "logit", "probability"]
MOST_NAMED = 10
"""Classes of an error's sentence."""


@dataclass(frozen=True, kw_only=True)
class ReadsNetwork:
    """A command that looks at pictures by a classifier."""

    network: Path | None = None
    """The classifier: a .safetensors file that Intaglio wrote, a folder of transformers with an image classifier, or a
    TorchScript file, for methods that ask no layers; none takes the embedded one of kinds and artists of emoji."""
    resolution: int | None = None
    """Pixels of a side to which pictures are read, from 16; none takes those that the classifier prepares pictures to,
    64 where it takes them as they are."""

    def __post_init__(self) -> None:
        check_resolution(self.resolution)

    def check_early(self) -> None:
        """Raises `BadInput` for a network that is not there."""
        if self.network is not None and not self.network.exists():
            raise BadInput(f"{self.network} does not exist; check the path of --network")

    @property
    def side(self) -> int:
        """Pixels of a side to which pictures are read."""
        return picture_side(self.resolution, self.network)

    def read_network(
        self, device: str, head: str = "", score: Score = "log-odds"
    ) -> "tuple[ScoredNetwork, dict[str, str]]":
        """The network with a head's score, and how a run describes it."""
        from intaglio.models import testbed
        from intaglio.models.image_classification import load_scored, network_hash

        path = self.network or testbed.classifier_path()
        scored = load_scored(path, head, score=score, side=self.side, device=device)
        return scored, described(path, network_hash(path))


@dataclass(frozen=True, kw_only=True)
class ScoresByNetwork(ReadsNetwork):
    """A command about the scores that a head of a classifier gives."""

    head: str = ""
    """Head of the classifier that is explained, such as kind or artist; none takes its first."""
    score: Score = "log-odds"
    """The explained number: log p / (1 - p) of the class, the network's own logit, or p, which is flat where the class
    is sure."""

    def load_network(self, device: str) -> "tuple[ScoredNetwork, dict[str, str]]":
        """The network with its score, and how a run describes it."""
        return self.read_network(device, self.head, self.score)

    def network_settings(self, scored: "ScoredNetwork", target: str | None) -> Mapping[str, Any]:
        """Settings of a result, beside those of the method."""
        return {"head": scored.head, "target": target, "score": self.score, "resolution": self.side}


@dataclass(frozen=True, kw_only=True)
class ExplainsNetwork(ScoresByNetwork):
    """A command about the score that a classifier gives a class."""

    target: str | None = None
    """Class whose score is explained, by its name; none takes the likeliest."""


def class_place(name: str, scored: "ScoredNetwork", flag: str = "--target") -> int:
    """The place of a class. Raises `BadInput` for a name that there is not, and for one that several have."""
    if scored.classes.count(name) == 1:
        return scored.classes.index(name)
    if name in scored.classes:
        raise BadInput(f"{flag} {name} names {scored.classes.count(name)} classes of the head {scored.head}")
    near = get_close_matches(name, scored.classes, MOST_NAMED, 0.5) or scored.classes[:MOST_NAMED]
    raise BadInput(f"{flag} {name} is no class of the head {scored.head}; some of them: {', '.join(near)}")
