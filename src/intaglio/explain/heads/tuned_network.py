"""A classifier whose weights were trained through a head of few concepts, and answers by features of other weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.models.classifiers import PictureClassifier, save_classifier

NETWORK_FILE = "network.safetensors"
ANSWERS = ("predicted", "linear", "sizes", "by_level")


@dataclass(frozen=True, eq=False)
class NetworkAnswers:
    """Answers of heads on features of one network, for the same m pictures as of another."""

    predicted: Int[ndarray, "m"]
    linear: Int[ndarray, "m"]
    sizes: Float[ndarray, "m"]
    by_level: Int[ndarray, "l m"]


@dataclass(frozen=True, eq=False)
class TunedNetwork:
    """A trained classifier, with answers by the weights that it began with and by those of the same plain training."""

    classifier: PictureClassifier
    """In evaluation mode, with weights as its file has them."""
    learnt: int
    """Pictures that it learnt from."""
    sparsity: float
    """Share of concepts left out while it learnt."""
    untouched: NetworkAnswers
    plain: NetworkAnswers

    def save(self, folder: Path, card: Mapping[str, str]) -> None:
        """Writes the network as a file that `--network` reads, atomically."""
        save_classifier(self.classifier, folder / NETWORK_FILE, card)

    def parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values that `of` makes it of."""
        tensors = {f"network/{name}": one for name, one in self.classifier.state_dict().items()}
        for which in ("untouched", "plain"):
            answers = getattr(self, which)
            tensors |= {f"{which}/{name}": torch.from_numpy(getattr(answers, name).copy()) for name in ANSWERS}
        one = self.classifier
        shape = {"heads": one.classes, "widths": one.widths, "repeats": one.repeats}
        return tensors, {"learnt": self.learnt, "sparsity": self.sparsity, **shape}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "TunedNetwork":
        """The inverse of `parts`. Raises `KeyError`, `ValueError` or `RuntimeError` where these do not fit."""
        heads = {str(name): tuple(map(str, classes)) for name, classes in about["heads"].items()}
        widths, repeats = (list(map(int, about[name])) for name in ("widths", "repeats"))
        with torch.device("meta"):
            classifier = PictureClassifier(heads, widths, repeats)
        state = {name.removeprefix("network/"): one for name, one in tensors.items() if name.startswith("network/")}
        classifier.load_state_dict(state, assign=True)
        answers = [
            NetworkAnswers(**{name: tensors[f"{which}/{name}"].numpy() for name in ANSWERS})
            for which in ("untouched", "plain")
        ]
        frozen = classifier.eval().requires_grad_(False)
        return cls(frozen, int(about["learnt"]), float(about["sparsity"]), *answers)
