"""Scores of pictures by a classifier: one number for a picture and a class, which explanations are of."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intaglio.errors import BadInput, IntaglioError
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.token_places import TokenGrid, last_seen_layer, token_layers
from intaglio.runs.tensors import tensor_hash

Score = Literal["log-odds", "logit", "probability"]
"""log-odds: log p / (1 - p) of the class, p by softmax; logit: the network's own number; probability: p."""
MOST_NAMED = 12
"""Layers of an error's sentence."""

Pictures = Float[Tensor, "n 3 h w"]


@dataclass(frozen=True, eq=False)
class ScoredNetwork(ABC):
    """A classifier whose score of a class is explained; it is left as it was found.

    A score may be differentiated by the pictures and by the outputs of modules. The network is in evaluation mode.
    """

    network: nn.Module
    """Whose modules can be hooked."""
    head: str
    """Which of the network's answers is meant."""
    classes: tuple[str, ...]
    """Names, in the order of the logits."""
    side: int
    """Pixels of a side of the pictures that it is meant for."""
    score_of: Score = "log-odds"

    @abstractmethod
    def raw_logits(self, pixels: Pictures) -> Float[Tensor, "n k"]:
        """Logits of pictures in [0, 1] on the device of the weights."""

    @abstractmethod
    def features(self, pixels: Pictures) -> Float[Tensor, "n f"]:
        """Numbers that the head takes, of pictures in [0, 1]."""

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.network.parameters()).device

    @cached_property
    def hash(self) -> str:
        """SHA-256 of weights, head and score; 64 hex digits."""
        found = hashlib.sha256(f"{self.head} {self.score_of} {self.classes}".encode())
        for name, tensor in self.network.state_dict().items():
            found.update(f"{name} {tensor_hash(tensor)}\n".encode())
        return found.hexdigest()

    def logits(self, pixels: Pictures) -> Float[Tensor, "n k"]:
        """Logits of pictures in [0, 1]. Raises `IntaglioError` for numbers that are not finite."""
        found = self.raw_logits(pixels.to(self.device))
        if not bool(found.isfinite().all()):
            raise IntaglioError("the classifier's numbers are not finite; check its file")
        return found

    def score(self, pixels: Pictures, target: int) -> Float[Tensor, "n"]:
        """Score of one class for each picture, on the device of the weights."""
        return self.scored(self.logits(pixels), target)

    def scored(self, logits: Float[Tensor, "n k"], target: int) -> Float[Tensor, "n"]:
        """The score of a class that logits give."""
        if self.score_of == "logit":
            return logits[:, target]
        if self.score_of == "probability":
            return logits.softmax(1)[:, target]
        others = torch.cat([logits[:, :target], logits[:, target + 1 :]], 1)
        return logits[:, target] - others.logsumexp(1)

    @torch.no_grad()
    def called(self, pixels: Pictures) -> Int[Tensor, "n"]:
        """Place of each picture's likeliest class, on the CPU."""
        return torch.cat([self.logits(one).argmax(1).cpu() for one in pixels.split(256)])

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the modules that give maps [n, c, h, w] of more than one place, in the order of their calls."""
        return tuple(_map_layers(self))

    @cached_property
    def stage_ends(self) -> tuple[str, ...]:
        """The last of `layers` of each size of maps, in the order of their calls; of modules that give the same maps,
        that of the shortest name.
        """
        maps = _map_layers(self)
        last = {one.shape[-1]: one for one in maps.values()}
        return tuple(min((name for name, one in maps.items() if _same(one, end)), key=len) for end in last.values())

    @cached_property
    def token_layers(self) -> dict[str, TokenGrid]:
        """Modules that give tokens [1, t, d] of places, with their grid, in the order of their calls."""
        return token_layers(self)

    @cached_property
    def last_seen_layer(self) -> str:
        """The last of `layers`, or normalised tokens after it, by whose places a score has a gradient."""
        return last_seen_layer(self)

    @property
    def head_layer(self) -> nn.Module | None:
        """The module that gives the logits: the last linear one; None where there is none."""
        return next((one for one in reversed(list(self.network.modules())) if isinstance(one, nn.Linear)), None)

    def check_layers(self) -> None:
        """Raises `BadInput` for a network without a layer of maps."""
        if not self.layers:
            raise BadInput("the network has no layer with maps of more than one place; take a method such as rise")

    def layer(self, name: str) -> nn.Module:
        """A module of `layers`. Raises `BadInput` for another name, with those nearest to it."""
        if name not in self.layers:
            likely = sorted(self.layers, key=lambda one: (name not in one and one not in name, one))[:MOST_NAMED]
            few = ", ".join(likely) or "none"
            raise BadInput(f"the network has no layer {name!r} with maps; some that it has: {few}")
        return self.network.get_submodule(name)


@dataclass(frozen=True, eq=False)
class ScoredClassifier(ScoredNetwork):
    """One head of a classifier that Intaglio wrote."""

    network: PictureClassifier

    @property
    def head_layer(self) -> nn.Module | None:
        """The head's own."""
        return self.network.get_submodule(f"heads.{self.head}")

    def raw_logits(self, pixels: Pictures) -> Float[Tensor, "n k"]:
        """The head's own logits."""
        return self.network.logits(pixels, self.head)

    def features(self, pixels: Pictures) -> Float[Tensor, "n f"]:
        """The mean of the last maps, which the head is linear in."""
        return self.network.features(pixels.to(self.device))


def classifier_score(
    classifier: PictureClassifier, head: str, score: Score = "log-odds", side: int = 64
) -> ScoredClassifier:
    """The score of a classifier's head. Raises `BadInput` for a head that there is not."""
    if head not in classifier.classes:
        raise BadInput(f"the classifier has no head {head!r}; choose one of: {', '.join(classifier.classes)}")
    return ScoredClassifier(classifier, head, tuple(classifier.classes[head]), side, score)


@torch.no_grad()
def _map_layers(scored: ScoredNetwork) -> dict[str, Tensor]:
    """Modules whose output is a map, each once, with that of one call with a white picture."""
    found = dict[str, Tensor]()

    def noted(name: str):
        def hook(module: nn.Module, given: object, output: object) -> None:
            if isinstance(output, Tensor) and _is_map(output):
                found[name] = output

        return hook

    handles = [module.register_forward_hook(noted(name)) for name, module in scored.network.named_modules() if name]
    try:
        scored.raw_logits(torch.ones(1, 3, scored.side, scored.side, device=scored.device))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _is_map(output: Tensor) -> bool:
    """Whether an output is [1, c, h, w] of more than one place; in [1, h, w, c] a square's sides come first."""
    if output.dim() != 4 or output.shape[2] * output.shape[3] == 1:
        return False
    return output.shape[2] == output.shape[3] or output.shape[1] != output.shape[2]


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether both are one tensor in memory."""
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape
