"""A student of a classifier service: its last stages replaced one by one by ones of half the maps, as far as it agrees.

Of the service's S stages the last is replaced first. A new stage keeps, of each block, the half of the maps that count
most: by the deviation of a map times the length of the weights that read it. It is trained to give those maps again
(mean squared error, against the service's stage of the same input), and then all replaced stages with the head by the
divergence of their softened answers from the service's,

    T^2 KL(softmax(service / T) || softmax(student / T)),        T = 4.

While the student's most probable class is the service's on enough pictures that it was not trained on, the stage before
is replaced too; the first that fails is put back. Stages that are not replaced are the service's own, and frozen.

That a student is distilled greedily from the service is of Fides (arXiv 2304.00083), by its abstract; its layers and
losses were not read, and these are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, mse_loss

from intaglio.errors import require
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.trainer import Trainer
from intaglio.models.classifiers import PictureClassifier
from intaglio.randomness import generator
from intaglio.runs.run import Run

TEMPERATURE = 4.0
"""By which logits are divided in the student's training."""
MEASURED = 512
"""Pictures, at most, on which maps are weighed."""
EVERY_S = 20.0
"""Seconds between two saved states."""
Pixels = Float[Tensor, "n 3 h w"]


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """Settings of the student and its training."""

    agreement: float = 0.95
    """Share of unseen pictures on which the student's class must be the service's, in (0, 1]: the more, the less of the
    service is replaced."""
    views: int = 8
    """Views of each picture that the student learns from, itself the first, from 1."""
    block_steps: int = 60
    """Updates of a new stage by its maps, from 1."""
    steps: int = 600
    """Updates of all replaced stages by their answers, after each new one, from 1."""
    rows: int = 32
    """Pictures an update, from 2."""
    learning_rate: float = 2e-3
    """Highest learning rate of AdamW, which falls along half a cosine; above 0."""
    batch: int = 64
    """Pictures that go through a network together outside of the training, from 1."""
    seed: int = 0
    """Seed of views, batches and networks, from 0."""

    def __post_init__(self) -> None:
        require(0 < self.agreement <= 1, f"agreement must lie above 0 and be at most 1, not {self.agreement}")
        require(self.rows >= 2, f"rows must be 2 or more, not {self.rows}")
        for name in ("views", "block_steps", "steps", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be 1 or more, not {getattr(self, name)}")
        require(0 < self.learning_rate < float("inf"), f"learning_rate must be above 0, not {self.learning_rate}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")


class ServiceStudent(NamedTuple):
    """A student of one head of a service."""

    network: PictureClassifier
    """In evaluation mode, with that head alone."""
    copied: int
    """First stages that are the service's own."""
    agreement: float
    """Share of the unseen pictures with the service's class."""
    cost: float
    """Its multiplications, as a share of the service's."""


def distilled(
    service: PictureClassifier,
    head: str,
    taught: Pixels,
    unseen: Float[Tensor, "u 3 h w"],
    settings: StudentSettings,
    run: Run,
) -> ServiceStudent:
    """The smallest student, by stages, that agrees with the service.

    Args:
        service: in evaluation mode; it is left as it was found.
        head: that the student has.
        taught: pictures to learn from, with their varied copies.
        unseen: pictures on which agreement is judged.
        settings: of the training.
        run: where logs and states go; a killed call goes on after what was stored.
    """
    answers = _in_parts(service, head, taught, settings.batch)
    wanted = _in_parts(service, head, unseen, settings.batch).argmax(1)
    network, kept = _alone(service, head), 1.0
    copied = len(service.widths)
    while copied:
        smaller, maps = _replaced(network, head, copied - 1, taught[:MEASURED])
        _teach(service, smaller, head, copied - 1, (taught, answers), maps, settings, run)
        share = float((_in_parts(smaller, head, unseen, settings.batch).argmax(1) == wanted).double().mean())
        if share < settings.agreement:
            break
        network, kept, copied = smaller, share, copied - 1
    cost = multiplications(network.widths, network.repeats) / multiplications(service.widths, service.repeats)
    return ServiceStudent(network, copied, kept, cost)


def student_states(stages: int) -> list[str]:
    """Names of the states that a training may leave in its run."""
    return [_state(stage, part) for stage in range(stages) for part in ("maps", "answers")]


def student_network(
    head: str, classes: Sequence[str], widths: Sequence[int], repeats: Sequence[int], state: Mapping[str, Tensor]
) -> PictureClassifier:
    """A network of these numbers, in evaluation mode. Raises `RuntimeError` for tensors of another shape."""
    with torch.device("meta"):
        network = PictureClassifier({head: classes}, widths, repeats)
    network.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def multiplications(widths: Sequence[int], repeats: Sequence[int]) -> float:
    """Multiplications of the convolutions, for each pixel of a picture whose side all stages halve."""
    whole, inward = 0.0, 3
    for stage, (width, blocks) in enumerate(zip(widths, repeats, strict=True)):
        whole += 9 * width * (inward + (blocks - 1) * width) / 4 ** (stage + 1)
        inward = width
    return whole


def _alone(service: PictureClassifier, head: str) -> PictureClassifier:
    """A copy of the service with one head."""
    state = {
        name: tensor
        for name, tensor in service.state_dict().items()
        if not name.startswith("heads.") or name.startswith(f"heads.{head}.")
    }
    return student_network(head, service.classes[head], service.widths, service.repeats, state)


def probabilities(network: PictureClassifier, head: str, pixels: Pixels, batch: int) -> Float[Tensor, "n k"]:
    """Answers of one head, float64, computed `batch` pictures at a time."""
    return _in_parts(network, head, pixels, batch).double().softmax(1)


@torch.no_grad()
def _in_parts(network: PictureClassifier, head: str, pixels: Pixels, batch: int) -> Float[Tensor, "n k"]:
    device = next(network.parameters()).device
    return torch.cat([network.logits(part.to(device), head).cpu() for part in pixels.split(batch)])


@torch.no_grad()
def _replaced(
    network: PictureClassifier, head: str, stage: int, pixels: Pixels
) -> tuple[PictureClassifier, Int[Tensor, "kept"]]:
    """The network with one stage of half its maps, and the maps of that stage's output that are kept."""
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    blocks, device = network.repeats[stage], next(network.parameters()).device
    maps = torch.cat([network.stages[:stage](1 - part.to(device)) for part in pixels.split(64)])
    half, inward = max(1, network.widths[stage] // 2), None
    parts = cast(torch.nn.Sequential, network.stages[stage])
    for block in range(blocks):
        maps = parts[block](maps)
        last = block + 1 == blocks
        if last and stage + 1 == len(network.widths):
            reader = f"heads.{head}.weight"
        else:
            reader = f"stages.{stage + last}.{0 if last else block + 1}.0.weight"
        spread = maps.std((0, 2, 3)) * state[reader].transpose(0, 1).flatten(1).norm(dim=1)
        outward = spread.topk(half).indices.sort().values
        _cut(state, f"stages.{stage}.{block}", outward, inward)
        state[reader] = state[reader][:, outward] if last else state[reader]
        inward = outward
    widths = [half if place == stage else width for place, width in enumerate(network.widths)]
    return student_network(head, network.classes[head], widths, network.repeats, state), outward


def _cut(
    state: dict[str, Tensor], block: str, outward: Int[Tensor, "kept"], inward: Int[Tensor, "before"] | None
) -> None:
    """Leaves of a block's numbers those of some maps, in place."""
    weight = state[f"{block}.0.weight"][outward]
    state[f"{block}.0.weight"] = weight if inward is None else weight[:, inward]
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"{block}.1.{name}"] = state[f"{block}.1.{name}"][outward]


def _teach(
    service: PictureClassifier,
    network: PictureClassifier,
    head: str,
    stage: int,
    taught: tuple[Pixels, Float[Tensor, "n k"]],
    maps: Int[Tensor, "kept"],
    settings: StudentSettings,
    run: Run,
) -> None:
    """Trains a stage by the maps that it is to give, and then all from it on by the service's answers, in place."""
    device, (pixels, answers) = next(service.parameters()).device, taught

    def drawn(part: str, step: int) -> Int[Tensor, "r"]:
        source = generator(settings.seed, "student", stage, part, step)
        return torch.randint(len(pixels), (settings.rows,), generator=source)

    def by_maps(step: int) -> StepLoss:
        with torch.no_grad():
            inward = service.stages[:stage](1 - pixels[drawn("maps", step)].to(device))
            wanted = service.stages[stage](inward)[:, maps]
        scale = wanted.var().clamp_min(1e-12)
        return backward(mse_loss(network.stages[stage](inward), wanted) / scale)

    def by_answers(step: int) -> StepLoss:
        places = drawn("answers", step)
        with torch.no_grad():
            found = network.stages[:stage](1 - pixels[places].to(device))
        logits = network.heads[head](network.pool(network.stages[stage:](found)).flatten(1))
        wanted = log_softmax(answers[places].to(device) / TEMPERATURE, 1)
        softened = log_softmax(logits / TEMPERATURE, 1)
        loss = kl_div(softened, wanted, log_target=True, reduction="batchmean")
        return backward(TEMPERATURE**2 * loss)

    later = range(stage, len(network.widths))
    parts = {
        "maps": (by_maps, settings.block_steps, [f"stages.{stage}."]),
        "answers": (
            by_answers,
            settings.steps,
            [f"stages.{k}." for k in range(stage, len(network.widths))] + ["heads."],
        ),
    }
    for part, (objective, steps, prefixes) in parts.items():
        for k in later:
            network.stages[k].train(part == "answers" or k == stage)
        weights = {name: one for name, one in network.named_parameters() if name.startswith(tuple(prefixes))}
        kept = {name: one for name, one in network.named_buffers() if name.startswith(tuple(prefixes))}
        rates = CosineSettings(steps=steps, learning_rate=settings.learning_rate, warmup=min(20, steps // 10))
        trainer = Trainer(weights, rates, kept=kept)
        stream = _state(stage, part)
        checkpoints = Checkpoints(run, every_s=EVERY_S, streams=(stream,), state=stream)
        checkpoints.restore(trainer)
        train(trainer, objective, run, checkpoints, label=f"student, stage {stage + 1}: {part}", stream=stream)
        network.eval().requires_grad_(False)


def _state(stage: int, part: str) -> str:
    return f"student-{stage}-{part}"
