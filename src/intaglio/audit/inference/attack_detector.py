"""A detector of attacked answers and a re-classifier, trained against an attacker: three perceptrons.

With p a service's answer, q its student's, u(p, q) their divergences (standardised) and z ~ N(0, I):

    detector       D(u(p, q)): log odds that p was attacked;
    re-classifier  softmax(R(log p, log q) + log q): the service's own class;
    attacker       E(log p, z): a class other than the most probable one (Gumbel), and how far probability is moved to
                   it; p' is the moved answer, which always has another class on top. For detector and re-classifier
                   half of the attacked answers are those to other pictures in its place, or the first two classes
                   swapped where that would be the same class: against the attacker alone, which seeks what
                   cannot be told, they learnt little of other attacks.

One update of all three lowers

    softplus(D(u(p, q))) + softplus(-D(u(p', q)))                     by D,
    -log R(class of p | p, q) - log R(class of p | p', q)              by R,
    softplus(D(u(p', q))) + max(0, KL(p' || p) - kappa)                by E.

All of it is this project's: of Fides (arXiv 2304.00083) its abstract and summaries were read, which say that detector
and re-classifier are trained by a generative adversarial framework on divergences, and not how.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, one_hot, relu, softplus

from intaglio.audit.inference.answer_divergences import divergence_rows
from intaglio.audit.inference.attacked_answers import moved_to, of_others
from intaglio.audit.inference.class_answers import Answers
from intaglio.learning.checkpoints import STATE, Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.trainer import Trainer
from intaglio.randomness import generator
from intaglio.runs.run import Run

NOISE = 8
"""Numbers of the attacker's noise."""
OTHERS = 0.5
"""Chance of an attacked answer to be that of another picture, in place of the attacker's."""
LEAST_SHARE = 0.02
"""Of the way to the whole probability, that an attacker moves at least."""
FARTHEST = 10.0
"""Standard deviations at which a divergence is cut."""
LOG_SCALE = 4.0
"""By which log probabilities are divided."""
EVERY_S = 20.0
"""Seconds between two saved states."""
Learnt = Mapping[str, Tensor]
"""Tensors that a method learnt, by name."""
Attack = Callable[[Answers, torch.Generator], Answers]
"""Answers to attacked ones, which follow from the generator."""


class DetectorSettings(NamedTuple):
    """Settings of the training."""

    rounds: int
    rows: int
    width: int
    """Of both hidden layers."""
    learning_rate: float
    kappa: float
    """Divergence up to which the attacker pays nothing, nats."""
    seed: int


def trained_detector(
    p: Answers, q: Answers, settings: DetectorSettings, run: Run, attack: Attack | None = None
) -> dict[str, Tensor]:
    """Weights of detector, re-classifier and attacker, and the divergences' mean and deviation.

    Args:
        p: clean answers of the service, without zeros, float64.
        q: the student's for the same pictures.
        settings: of the training.
        run: where logs and states go; a killed call goes on after what was stored.
        attack: one that is given, in place of the learnt attacker's.
    """
    classes, width, source = p.shape[1], settings.width, generator(settings.seed, "perceptrons")
    rows = divergence_rows(p, q)
    fixed = {"mean": rows.mean(0), "deviation": rows.std(0).clamp_min(1e-6)}
    weights = {
        **_perceptron("detector", (rows.shape[1], width, width, 1), source),
        **_perceptron("reclassifier", (2 * classes, width, width, classes), source),
        **_perceptron("attacker", (classes + NOISE, width, width, classes + 1), source),
    }

    def objective(step: int) -> StepLoss:
        drawn = generator(settings.seed, "round", step)
        places = torch.randint(len(p), (settings.rows,), generator=drawn)
        clean, own = p[places], q[places]
        known, frozen = {**weights, **fixed}, {**{k: one.detach() for k, one in weights.items()}, **fixed}
        moved = _attacked(weights, clean, drawn) if attack is None else attack(clean, drawn)
        shown, labels = moved.detach(), clean.argmax(1)
        if attack is None:
            taken = torch.rand(len(clean), generator=drawn) < OTHERS
            shown = torch.where(taken[:, None], of_others(clean, drawn), shown)
        detector = softplus(detected(known, clean, own)).mean() + softplus(-detected(known, shown, own)).mean()
        both = [cross_entropy(reclassified(known, given, own), labels) for given in (clean, shown)]
        attacker = torch.zeros((), dtype=torch.float64)
        if attack is None:
            far = (moved * (moved.log() - clean.log())).sum(1)
            attacker = (softplus(detected(frozen, moved, own)) + relu(far - settings.kappa)).mean()
        parts = {"detector": detector, "reclassifier": both[0] + both[1], "attacker": attacker}
        return backward(torch.stack(list(parts.values())).sum(), **{k: float(one.detach()) for k, one in parts.items()})

    rates = CosineSettings(steps=settings.rounds, learning_rate=settings.learning_rate, clip=None)
    trainer = Trainer(weights, rates)
    checkpoints = Checkpoints(run, every_s=EVERY_S, streams=("detector",))
    checkpoints.restore(trainer)
    train(trainer, objective, run, checkpoints, label="detector", stream="detector")
    return {**{name: one.detach().requires_grad_(False) for name, one in weights.items()}, **fixed}


def forget_detector(run: Run) -> None:
    """Drops the state of the training."""
    run.drop_state(STATE)


def detected(learnt: Learnt, p: Answers, q: Answers) -> Float[Tensor, "n"]:
    """Log odds that answers were attacked."""
    rows = (divergence_rows(p, q) - learnt["mean"]) / learnt["deviation"]
    return _passed(learnt, "detector", rows.clamp(-FARTHEST, FARTHEST))[:, 0]


def reclassified(learnt: Learnt, p: Answers, q: Answers) -> Float[Tensor, "n K"]:
    """Logits of the service's own class."""
    return _passed(learnt, "reclassifier", torch.cat([p.log(), q.log()], 1) / LOG_SCALE) + q.log()


def _attacked(weights: Learnt, p: Answers, source: torch.Generator) -> Answers:
    """Moved answers of the learnt attacker; gradients reach it through the soft choice of the class."""
    noise = torch.randn(len(p), NOISE, generator=source, dtype=torch.float64)
    gumbel = -torch.rand(p.shape, generator=source, dtype=torch.float64).clamp_min(1e-12).log().neg().log()
    found = _passed(weights, "attacker", torch.cat([p.log() / LOG_SCALE, noise], 1))
    barred = one_hot(p.argmax(1), p.shape[1]).bool()
    soft = (found[:, :-1] + gumbel).masked_fill(barred, -torch.inf).softmax(1)
    hard = one_hot(soft.argmax(1), p.shape[1]).to(soft.dtype)
    share = LEAST_SHARE + (1 - 2 * LEAST_SHARE) * found[:, -1].sigmoid()
    return moved_to(p, hard + soft - soft.detach(), share)


def _perceptron(name: str, sizes: Sequence[int], source: torch.Generator) -> dict[str, Tensor]:
    """Weights of a perceptron, normal after He et al. (arXiv 1502.01852), and biases of zero."""
    found = {}
    for layer, (inward, outward) in enumerate(pairwise(sizes)):
        drawn = torch.randn(outward, inward, generator=source, dtype=torch.float64)
        found[f"{name}.{layer}.weight"] = drawn * (2 / inward) ** 0.5
        found[f"{name}.{layer}.bias"] = torch.zeros(outward, dtype=torch.float64)
    return found


def _passed(learnt: Learnt, name: str, rows: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
    layer = 0
    while f"{name}.{layer}.weight" in learnt:
        rows = linear(relu(rows) if layer else rows, learnt[f"{name}.{layer}.weight"], learnt[f"{name}.{layer}.bias"])
        layer += 1
    return rows
