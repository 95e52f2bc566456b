"""last-layer: the head fitted again, each cell of class and shortcut counting alike."""

import copy
import math
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import require
from intaglio.explain.logistic_fits import fitted_logistic, plain_weights
from intaglio.explain.repairs.family import Change, ShortcutRepair
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.models.scored_network import ScoredClassifier
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class LastLayer(ShortcutRepair):
    """Deep feature reweighting: the head fitted again on pictures in which all cells count alike.

    Logistic regression on what the head takes, brought to mean 0 and deviation 1, with the weight of a picture
    inversely to the size of its cell, in place of the head's weights and bias. The layers below stay as they are.

    Source: Kirichenko, Izmailov and Wilson, arXiv 2204.02937, who average heads of several subsets with cells of equal
    size under an L1 penalty; here one fit weighs all pictures, and the penalty is L2.
    """

    reading: ClassVar[str] = "the head fitted again, each cell of class and shortcut counting alike"
    every_class: ClassVar[bool] = True

    strength: float = 0.1
    """Inverse strength C of the penalty, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.strength < math.inf, f"strength must be above 0, not {self.strength}")

    def changed(self, scored: ScoredClassifier, target: int, choosing: ShortcutPictures, run: Run, key: str) -> Change:
        """See the contract."""
        rows = self._features(scored, choosing, run, key).double().numpy()
        weights = len(rows) / len(np.unique(choosing.cells)) / np.bincount(choosing.cells)[choosing.cells]
        slopes, biases = plain_weights(fitted_logistic(rows, choosing.truth, self.strength, weights=weights))
        network = copy.deepcopy(scored.network)
        layer = cast(nn.Linear, network.heads[scored.head])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(slopes))
            layer.bias.copy_(torch.from_numpy(biases))
        for number in range(len(choosing.pixels.split(self.batch))):
            run.drop_state(f"features-{number}")
        return Change(network)

    def _features(
        self, scored: ScoredClassifier, choosing: ShortcutPictures, run: Run, key: str
    ) -> Float[Tensor, "n d"]:
        """Features that the head takes, each batch stored with the run when it is known."""
        parts = choosing.pixels.split(self.batch)
        stored = [run.load_state(f"features-{number}") for number in range(len(parts))]
        found = [one[0]["rows"] if one is not None and one[1].get("key") == key else None for one in stored]
        with run.progress(len(parts), "features", sum(one is not None for one in found)) as progress:
            for number, part in enumerate(parts):
                if found[number] is None:
                    with torch.no_grad():
                        rows = scored.features(part).cpu()
                    run.save_state(f"features-{number}", {"rows": rows}, {"key": key})
                    found[number] = rows
                    progress.advance()
        return torch.cat([one for one in found if one is not None])

    def passes(self, scored: ScoredClassifier, pictures: int) -> int:
        """One a picture."""
        return pictures
