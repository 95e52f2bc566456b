"""Counterfactual makers: the contract of a method that learns pictures with attributes, to set some of these."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import BadInput, require
from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.explain.counterfactuals.picture_walks import Pixels
from intaglio.images.image_set import ImageSet
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.randomness import first_weights, generator_32bit
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

FEWEST = 8
"""Pictures to learn from, and labels of these, at least."""
HELD = 5
"""Of so many labelled pictures one is held out, where others have no labels."""
Values = Float[Tensor, "n d"]
"""Of attributes, scaled to [0, 1] by the table's least and greatest."""
Changes = Mapping[int, Float[Tensor, "n"]]
"""Scaled values that attributes are set to, by place."""


class LearntPictures(nn.Module, ABC):
    """Networks that a method learns, and what it makes by them; pictures are [n, 3, s, s] in [-1, 1]."""

    @abstractmethod
    def losses(self, pixels: Pixels, labels: Values, done: float, source: torch.Generator) -> dict[str, Tensor]:
        """Terms of the objective by name, whose sum is minimised, at a share `done` of all updates.

        Labels are NaN where a picture has none, which comes before methods alone that say that they learn from such.
        """

    @abstractmethod
    def read(self, pixels: Pixels, labels: Values) -> Values:
        """Values of pictures whose labels are known."""

    @abstractmethod
    def changed(self, values: Values, changes: Changes) -> Values:
        """Values after some are set."""

    @abstractmethod
    def rest(self, pixels: Pixels, values: Values) -> Pixels:
        """All that is kept of pictures beside their values."""

    @abstractmethod
    def drawn(self, rest: Pixels, values: Values) -> Pixels:
        """Pictures of values and a rest."""


@dataclass(frozen=True, kw_only=True)
class CounterfactualMaker(ABC):
    """A way to show what pictures would look like if some of their attributes were others.

    It learns the pictures themselves, with a number of each attribute scaled to [0, 1]. Then the values and the rest of
    each picture are read off, some values are set, and the picture is drawn again from the same rest.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """Of what becomes of attributes that are not set, as the end of a sentence that begins "The others"."""
    learns_unlabelled: ClassVar[bool] = False
    """Whether pictures without labels are learnt as well."""

    updates: int = 1200
    """Updates of the weights, at least 1."""
    rows: int = 16
    """Pictures of an update, at least 1."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, above 0; it falls along half a cosine."""
    channels: int = 32
    """Width of the networks, a multiple of 8."""
    batch: int = 32
    """Pictures drawn at once, at least 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Of weights, order and noise, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        for name in ("updates", "rows", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        rate = self.learning_rate
        require(0 < rate < float("inf"), f"learning_rate must be above 0, and finite, not {rate}")
        fit = self.channels >= 8 and self.channels % 8 == 0
        require(fit, f"channels must be a multiple of 8, not {self.channels}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def fresh(self, graph: AttributeGraph, side: int) -> LearntPictures:
        """Networks of random weights, drawn by torch's own generator, for pictures of a side in pixels."""

    def begun(self, graph: AttributeGraph, side: int) -> LearntPictures:
        """Networks of random weights, drawn by the seed."""
        with first_weights(self.seed, "weights"):
            return self.fresh(graph, side)

    def key(self, images: ImageSet, table: AttributeTable, graph: AttributeGraph) -> str:
        """Of all that what is learnt depends on."""
        about = [self.name, asdict(self) | {"batch": 0}, list(images.hashes), table.values.tolist()]
        return digest([*about, table.names, table.held, graph.parents])

    def learnt(
        self,
        images: ImageSet,
        table: AttributeTable,
        graph: AttributeGraph,
        *,
        run: Run = Run.none(),
        device: str = "cpu",
    ) -> LearntPictures:
        """Networks that have learnt the pictures; they do not depend on the order of the pictures.

        Args:
            images: n pictures, square.
            table: a row a picture; its attributes are those of the graph. What a method cannot learn, pictures without
                labels or held out, it leaves out.
            graph: between the attributes.
            run: takes the log and the state of the training, from which a killed one goes on.
            device: where the networks compute.

        Raises:
            BadInput: for too few pictures, or pictures of a side that cannot be halved often enough.
            IntaglioError: for a loss that is not finite.
        """
        self.check(images, table, graph)
        order = [k for k in content_order(images) if self.learns_unlabelled or table.taught[k]]
        pixels = (2 * images.pixels[order] - 1).to(device)
        labels = table.labels()[order].to(device)
        model = self.begun(graph, pixels.shape[-1]).to(device)

        def objective(step: int) -> StepLoss:
            chosen = batch_at(range(len(pixels)), step, self.rows, self.seed, "counterfactuals")
            source = generator_32bit(self.seed, "noise", step)
            terms = model.losses(pixels[chosen], labels[chosen], step / self.updates, source)
            loss = torch.stack(list(terms.values())).sum()
            loss.backward()
            return StepLoss(float(loss.detach()), parts={name: float(one.detach()) for name, one in terms.items()})

        trainer = Trainer(dict(model.named_parameters()), self._optimiser)
        stream = f"train-{self.name}"
        checkpoints = Checkpoints(run, every_s=20.0, streams=(stream,), state=self._state)
        checkpoints.restore(trainer)
        train(trainer, objective, run, checkpoints, label="updates", stream=stream)
        trainer.export()
        return model.eval().requires_grad_(False)

    def check(self, images: ImageSet, table: AttributeTable, graph: AttributeGraph) -> None:
        """Raises `BadInput` for pictures and attributes that do not fit each other."""
        if len(images) < FEWEST:
            raise BadInput(f"there are {len(images)} pictures to learn from; give {FEWEST} or more")
        if len(table.values) != len(images) or table.names != graph.names:
            raise BadInput("the table's rows and attributes are not those of the pictures and of the graph")
        if (taught := int(table.taught.sum())) < FEWEST:
            raise BadInput(f"there are labels to learn for {taught} of {len(images)} pictures; give {FEWEST} or more")

    def forget(self, run: Run) -> None:
        """Drops what a run kept to go on from; to be called once its result is safe."""
        run.drop_state(self._state)

    @property
    def _state(self) -> str:
        return f"training-{self.name}"

    @property
    def _optimiser(self) -> CosineSettings:
        decay = 1 - min(0.5, 6 / self.updates)
        return CosineSettings(
            steps=self.updates, learning_rate=self.learning_rate, weight_decay=0.0, warmup=50, ema=decay
        )


def some_held(table: AttributeTable, images: ImageSet, seed: int, most: int) -> AttributeTable:
    """The table with a fifth of its labelled pictures held out, drawn by their content, where others have no labels.

    They are at most `most`, and as many as leave enough to learn from.
    """
    labelled = np.flatnonzero(table.labelled).tolist()
    if len(labelled) == len(images):
        return table
    drawn = sorted(labelled, key=lambda k: digest([seed, images.hashes[k]]))
    return table.holding(drawn[: max(0, min(len(labelled) // HELD, len(labelled) - FEWEST, most))])


def set_alone(values: Values, changes: Changes) -> Values:
    """Values of which some are replaced."""
    columns = list(values.unbind(1))
    return torch.stack([changes.get(k, one) for k, one in enumerate(columns)], 1)
