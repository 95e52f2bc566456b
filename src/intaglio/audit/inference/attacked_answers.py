"""Attacks on a service's answers: rows of probabilities with another most probable class."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.audit.inference.class_answers import Answers


def swapped(answers: Answers) -> Answers:
    """The two most probable classes change their places."""
    best = answers.topk(2, dim=1).indices
    return answers.scatter(1, best, answers.gather(1, best.flip(1)))


def random_class(answers: Answers, source: torch.Generator) -> Answers:
    """The most probable class changes places with one of the others, all alike."""
    top = answers.argmax(1, keepdim=True)
    step = torch.randint(1, answers.shape[1], top.shape, generator=source)
    both = torch.cat([top, (top + step) % answers.shape[1]], 1)
    return answers.scatter(1, both, answers.gather(1, both.flip(1)))


def of_others(answers: Answers, source: torch.Generator) -> Answers:
    """Each becomes the answer to another of the pictures where that has another class, else its two classes swap."""
    taken = answers[torch.randperm(len(answers), generator=source)]
    differs = answers.argmax(1) != taken.argmax(1)
    return torch.where(differs[:, None], taken, swapped(answers))


def constant(answers: Answers) -> Answers:
    """All answers are the one with the largest probability of all."""
    return answers[answers.amax(1).argmax()].expand_as(answers).clone()


def moved_to(answers: Answers, target: Float[Tensor, "n K"], share: Float[Tensor, "n"]) -> Answers:
    """Probability of the most probable class is moved to a target, so much that the target is on top.

    With s the probability of both together and r the largest of the others, the target gets s v, with v from
    max(1/2, r / s) to 1. Target and share can be differentiated.

    Args:
        answers: rows without zeros.
        target: one-hot, never the most probable class.
        share: of the way of v from its least to 1, in (0, 1].
    """
    top = torch.nn.functional.one_hot(answers.argmax(1), answers.shape[1]).to(answers.dtype)
    both = (answers * (top + target)).sum(1)
    other = (answers * (1 - top - target).clamp_min(0)).amax(1)
    least = torch.maximum(torch.full_like(both, 0.5), other / both).detach()
    upper = least + (1 - least) * share
    moved = (both * (1 - upper))[:, None] * top + (both * upper)[:, None] * target
    return answers * (1 - top - target) + moved


def changed(answers: Answers, attacked: Answers) -> Int[Tensor, "m"]:
    """Places of the answers whose most probable class is another one."""
    return (answers.argmax(1) != attacked.argmax(1)).nonzero()[:, 0]
