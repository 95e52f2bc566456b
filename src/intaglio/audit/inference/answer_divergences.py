"""Divergences of two answers to one picture: that of a service, p, and that of its student, q."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.audit.inference.class_answers import Answers


class AnswerDivergences(NamedTuple):
    """Numbers of n pairs of answers, [n] each, float64; a margin is a difference of log probabilities."""

    forward: Tensor
    """KL(p || q)."""
    backward: Tensor
    """KL(q || p)."""
    jensen_shannon: Tensor
    """KL of each from their mean, averaged; at most log 2."""
    total_variation: Tensor
    entropy_p: Tensor
    entropy_q: Tensor
    margin_p: Tensor
    """Of the two most probable classes of p."""
    margin_p_in_q: Tensor
    """Of the same classes, in q."""
    margin_q: Tensor
    """Of the two most probable classes of q."""
    margin_q_in_p: Tensor
    rank_p_in_q: Tensor
    """Classes that q has above the most probable one of p."""
    rank_q_in_p: Tensor


def divergences(p: Answers, q: Answers) -> AnswerDivergences:
    """Divergences of rows without zeros; they can be differentiated, but for the ranks."""
    log_p, log_q = p.log(), q.log()
    best_p, best_q = _best_two(p), _best_two(q)
    return AnswerDivergences(
        forward=(p * (log_p - log_q)).sum(1),
        backward=(q * (log_q - log_p)).sum(1),
        jensen_shannon=jensen_shannon(p, q),
        total_variation=(p - q).abs().sum(1) / 2,
        entropy_p=-(p * log_p).sum(1),
        entropy_q=-(q * log_q).sum(1),
        margin_p=_margin(log_p, best_p),
        margin_p_in_q=_margin(log_q, best_p),
        margin_q=_margin(log_q, best_q),
        margin_q_in_p=_margin(log_p, best_q),
        rank_p_in_q=_rank(q, best_p[:, :1]),
        rank_q_in_p=_rank(p, best_q[:, :1]),
    )


def jensen_shannon(p: Answers, q: Answers) -> Float[Tensor, "n"]:
    """The Jensen-Shannon divergence of rows without zeros, in nats."""
    middle = ((p + q) / 2).log()
    return ((p * (p.log() - middle)).sum(1) + (q * (q.log() - middle)).sum(1)) / 2


def _best_two(answers: Answers) -> Int[Tensor, "n 2"]:
    return answers.topk(2, dim=1).indices


def _margin(logs: Answers, two: Int[Tensor, "n 2"]) -> Float[Tensor, "n"]:
    chosen = logs.gather(1, two)
    return chosen[:, 0] - chosen[:, 1]


def _rank(answers: Answers, place: Int[Tensor, "n 1"]) -> Float[Tensor, "n"]:
    return (answers > answers.gather(1, place)).sum(1).to(answers.dtype)


def divergence_rows(p: Answers, q: Answers) -> Float[Tensor, "n u"]:
    """The divergences as columns."""
    return torch.stack(list(divergences(p, q)), 1)
