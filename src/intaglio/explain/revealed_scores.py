"""Scores of a picture of which some regions are shown and the others are blank."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.models.scored_network import ScoredNetwork


@dataclass(eq=False)
class RevealedScores:
    """Logits of one picture for sets of shown regions; each set is asked once."""

    scored: ScoredNetwork
    pixels: Float[Tensor, "3 h w"]
    blank: Float[Tensor, "3 h w"]
    """What stands in hidden regions."""
    regions: Int[Tensor, "h w"]
    """Numbers 0 to r - 1; -1 for places that are always shown."""
    target: int
    """Class that is scored."""
    batch: int = 64
    """Pictures that go through the network together, from 1."""
    _known: dict[bytes, Tensor] = field(default_factory=dict)
    _alone: Tensor | None = None

    @property
    def count(self) -> int:
        """Regions."""
        return int(self.regions.max()) + 1

    @property
    def passes(self) -> int:
        """Pictures that have gone through the network so far."""
        return len(self._known) + (0 if self._alone is None else self.count)

    def shown(self, keep: Bool[Tensor, "m r"]) -> Float[Tensor, "m 3 h w"]:
        """The picture with the regions of each row, on the blank."""
        always = torch.ones(len(keep), 1, dtype=torch.bool)
        return torch.where(torch.cat([keep, always], 1)[:, None, self.regions], self.pixels, self.blank)

    @torch.no_grad()
    def logits(self, keep: Bool[Tensor, "m r"]) -> Float[Tensor, "m k"]:
        """Logits of each set, on the CPU."""
        keys = [row.numpy().tobytes() for row in keep.cpu()]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        for places in torch.tensor(list(new.values()), dtype=torch.long).split(self.batch):
            if len(places):
                found = self.scored.logits(self.shown(keep[places])).float().cpu()
                self._known.update({keys[int(place)]: row for place, row in zip(places, found, strict=True)})
        return torch.stack([self._known[key] for key in keys])

    def scores(self, keep: Bool[Tensor, "m r"]) -> Float[Tensor, "m"]:
        """Score of the target for each set."""
        return self.scored.scored(self.logits(keep), self.target)

    def probabilities(self, keep: Bool[Tensor, "m r"]) -> Float[Tensor, "m k"]:
        """Probabilities of all classes for each set."""
        return self.logits(keep).softmax(1)

    @torch.no_grad()
    def alone(self) -> Float[Tensor, "r f"]:
        """Features of each region shown alone, on the CPU."""
        if self._alone is None:
            parts = torch.eye(self.count, dtype=torch.bool).split(self.batch)
            self._alone = torch.cat([self.scored.features(self.shown(part)).float().cpu() for part in parts])
        return self._alone
