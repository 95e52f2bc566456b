"""Statistics of pairs and triples of columns over all rows, as maps that a network takes beside a sample of the rows.

All maps are of magnitudes, so that the sign of a column does not matter. They depend on the number of rows through
√n·atanh|ρ|, the statistic of Fisher's test of independence, so that one network serves all numbers of rows.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PAIR_MAPS, TRIPLE_MAPS = 18, 6
"""Numbers of maps of pairs and of triples."""
GREEDY_STEPS = 3
"""Most columns of a separating set in the greedy search."""
MAX_CORRELATION = 1 - 1e-6
"""Absolute correlation at which values are clipped."""
RIDGE = 1e-3
"""Relative ridge on the Gram matrix of a column's features, which is singular for levels that do not occur."""

Matrix = Float[Tensor, "b d d"]


def of(
    standard: Float[Tensor, "b n d"],
    score: Float[Tensor, "b n d"],
    features: Float[Tensor, "b r d m"],
    known: Bool[Tensor, "b n d"],
    share: Float[Tensor, "b d d"] | None = None,
) -> tuple[Float[Tensor, "b d d 18"], Float[Tensor, "b d d d 6"]]:
    """Maps of pairs, and of triples ([i, j, k]: i and j given k); 0 where two of the columns are the same.

    Args:
        standard: columns of mean 0 and variance 1 over known cells, 0 where missing.
        score: normal scores of mean 0 and variance 1 over known cells, 0 where missing.
        features: m functions of each column, of mean 0, 0 where missing, over the first r rows.
        known: mask of the cells that are not missing.
        share: share in (0, 1] of a pair's rows that count as evidence, where rows depend on each other or cells are
            filled; None for all of them. Estimates are of all rows.
    """
    counts = rows_in_common(known)
    evidence = counts if share is None else counts * share
    root = evidence.sqrt()
    linear, ranked = correlation(standard, counts), correlation(score, counts)
    greedy = greedy_separation(ranked, root)
    joint = association(features, rows_in_common(known[:, : features.shape[1]]), share)
    moments = _moments(standard, counts, root)
    pairs = [
        *_evidence_and_strength(linear, root),
        *_evidence_and_strength(partial(linear, evidence), root),
        *_evidence_and_strength(ranked, root),
        *_evidence_and_strength(partial(ranked, evidence), root),
        *greedy.evidence.unbind(-1),
        *_evidence_and_strength(greedy.least, root),
        joint.alone,
        joint.given_all,
        joint.least,
        moments,
        moments.transpose(1, 2),
    ]
    triples = torch.stack([*greedy.given.unbind(-1), *greedy.chosen.unbind(-1), joint.given], -1)
    # Rounding may break ties of the search differently for (i, j) and (j, i); the first of the two counts.
    first = triples * torch.ones_like(linear[0]).triu(1)[:, :, None, None]
    triples = first + first.transpose(1, 2)
    distinct = ~torch.eye(standard.shape[-1], dtype=torch.bool, device=standard.device)
    three = distinct[:, :, None] & distinct[:, None, :] & distinct[None, :, :]
    return torch.stack(pairs, -1) * distinct[..., None], triples * three[..., None]


def rows_in_common(known: Bool[Tensor, "b n d"]) -> Matrix:
    """Number of rows in which both columns are known, at least 1."""
    if bool(known.all()):
        b, n, d = known.shape
        return torch.full((b, d, d), float(n), device=known.device)
    seen = known.float()
    return (seen.transpose(1, 2) @ seen).clamp(min=1)


def correlation(columns: Float[Tensor, "b n d"], counts: Matrix) -> Matrix:
    """Correlation over the rows that have both columns, clipped off the diagonal; shrunk where it is not definite."""
    counts = counts.to(columns.dtype)
    found = ((columns.transpose(1, 2) @ columns) / counts).clamp(-MAX_CORRELATION, MAX_CORRELATION)
    found.diagonal(dim1=1, dim2=2).fill_(1.0)
    uneven = counts.amin((1, 2)) < counts.amax((1, 2))
    return _definite(found) if bool(uneven.any()) else found


def _definite(matrix: Matrix) -> Matrix:
    """Shrunk to the identity until its least eigenvalue is 1e-4; missing cells can make it negative."""
    least = torch.linalg.eigvalsh(matrix)[:, 0]
    weight = ((1e-4 - least) / (1 - least)).clamp(min=0.0)[:, None, None]
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return matrix * (1 - weight) + eye * weight


def partial(matrix: Matrix, counts: Float[Tensor, "b _ _"]) -> Matrix:
    """Partial correlation given all other columns, after shrinkage by J. Schäfer and K. Strimmer (2005)."""
    rows = counts.amax((1, 2)).to(matrix.dtype)
    off = matrix - torch.diag_embed(matrix.diagonal(dim1=1, dim2=2))
    noise = ((1 - off.square()).square().sum((1, 2)) - matrix.shape[-1]) / rows
    weight = (noise / off.square().sum((1, 2)).clamp(min=1e-9)).clamp(1e-5, 1.0)[:, None, None]
    precision = torch.linalg.inv(_shrunk(matrix, weight))
    scale = precision.diagonal(dim1=1, dim2=2).clamp(min=1e-12).rsqrt()
    return (-precision * scale[:, :, None] * scale[:, None, :]).clamp(-MAX_CORRELATION, MAX_CORRELATION)


def _shrunk(matrix: Matrix, weight: Float[Tensor, "b 1 1"]) -> Matrix:
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return matrix * (1 - weight) + eye * weight


def _evidence(rho: Float[Tensor, "..."], root: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """log(1 + √n·atanh|ρ|)."""
    return torch.log1p(root * torch.atanh(rho.abs().clamp(max=MAX_CORRELATION)))


def _evidence_and_strength(rho: Matrix, root: Matrix) -> tuple[Matrix, Matrix]:
    """log(1 + √n·atanh|ρ|) and atanh|ρ|: significance and strength of a correlation."""
    return _evidence(rho, root), torch.atanh(rho.abs().clamp(max=MAX_CORRELATION))


class GreedySeparation(NamedTuple):
    """Result of the greedy search for separating sets, for each pair of columns."""

    evidence: Float[Tensor, "b d d 3"]
    """Evidence log(1 + √n·atanh|ρ|) of dependence given the first 1, 2, 3 columns of the set."""
    least: Matrix
    """Least |partial correlation| over the sets of 0 to 3 columns."""
    given: Float[Tensor, "b d d d 2"]
    """Evidence given each column k alone, and given k after the first column of the set."""
    chosen: Float[Tensor, "b d d d 3"]
    """One-hot: the column that was added at each step."""


def greedy_separation(matrix: Matrix, root: Matrix) -> GreedySeparation:
    """For each pair, adds the column that brings its partial correlation nearest to 0, `GREEDY_STEPS` times.

    All pairs are processed together: for pair (i, j) and each k, the covariances of i and k, of j and k and the
    variance of k given the set so far are updated by one step of a Cholesky decomposition.
    """
    b, d, _ = matrix.shape
    given_i = matrix[:, :, None, :].expand(b, d, d, d)  # [i, j, k]: cov(i, k | taken)
    given_j = matrix[:, None, :, :].expand(b, d, d, d)
    left = torch.ones(b, d, d, d, dtype=matrix.dtype, device=matrix.device)
    together, of_i, of_j = matrix, torch.ones_like(matrix), torch.ones_like(matrix)
    eye = torch.eye(d, dtype=torch.bool, device=matrix.device)
    closed = (eye[:, None, :] | eye[None, :, :]).expand(b, d, d, d)
    factors: list[Tensor] = []
    least, evidence, given, chosen = matrix.abs(), [], [], []
    for _ in range(min(GREEDY_STEPS, max(d - 2, 0))):
        safe = left.clamp(min=1e-6)
        top = together[..., None] - given_i * given_j / safe
        var_i = (of_i[..., None] - given_i.square() / safe).clamp(min=1e-6)
        var_j = (of_j[..., None] - given_j.square() / safe).clamp(min=1e-6)
        rho = (top * (var_i * var_j).rsqrt()).abs().clamp(max=MAX_CORRELATION)
        open_rho = rho.masked_fill(closed, 2.0)
        value, best = open_rho.min(-1)
        given.append(_evidence(rho.masked_fill(closed, 0.0), root[..., None]))
        taken = torch.nn.functional.one_hot(best, d).to(matrix.dtype)
        chosen.append(taken)
        evidence.append(_evidence(value.clamp(max=MAX_CORRELATION), root))
        least = torch.minimum(least, value)
        pick = best[..., None]
        column = matrix.transpose(1, 2)[torch.arange(b, device=matrix.device)[:, None, None], best]  # cov(k, best)
        for factor in factors:
            column = column - factor * factor.gather(-1, pick)
        factor = column * left.gather(-1, pick).clamp(min=1e-6).rsqrt()
        at_i = factor.diagonal(dim1=1, dim2=3).transpose(1, 2)[..., None]  # factor[i, j, i]
        at_j = factor.diagonal(dim1=2, dim2=3)[..., None]
        given_i, given_j = given_i - at_i * factor, given_j - at_j * factor
        together = together - (at_i * at_j)[..., 0]
        of_i, of_j = of_i - at_i[..., 0].square(), of_j - at_j[..., 0].square()
        left = left - factor.square()
        closed = closed | taken.bool()
        factors.append(factor)
    while len(evidence) < GREEDY_STEPS:
        evidence.append(evidence[-1] if evidence else _evidence(matrix, root))
        chosen.append(torch.zeros_like(left))
        given.append(given[-1] if given else torch.zeros_like(left))
    return GreedySeparation(torch.stack(evidence, -1), least, torch.stack(given[:2], -1), torch.stack(chosen, -1))


class Association(NamedTuple):
    """Evidence of any dependence that the columns' features show; about 0 under independence."""

    alone: Matrix
    """Evidence of dependence of two columns."""
    given_all: Matrix
    """Evidence of dependence given all other columns."""
    least: Matrix
    """The minimum of `given` over k."""
    given: Float[Tensor, "b d d d"]
    """[i, j, k]: evidence of dependence of i and j given k."""


def association(features: Float[Tensor, "b n d m"], counts: Matrix, share: Matrix | None = None) -> Association:
    """Sums of squared correlations between all features of two columns, standardised by their degrees of freedom.

    It applies to numbers, ordered and unordered levels alike: n·Σρ² is Pearson's χ² for two columns with levels, and
    close to Bartlett's likelihood ratio for any two. Under independence its mean is about r_i·r_j, where r is the
    number of features of a column; with four levels or fewer one feature is a function of the others, so that the mean
    is a little below.
    """
    b, n, d, m = features.shape
    own = features.transpose(1, 2)
    gram = own.transpose(2, 3) @ own / counts.diagonal(dim1=1, dim2=2)[..., None, None].to(features.dtype)
    present = gram.diagonal(dim1=2, dim2=3) > 1e-9
    ridge = torch.where(present, RIDGE * gram.diagonal(dim1=2, dim2=3), 1.0)
    lower = torch.linalg.cholesky(gram + torch.diag_embed(ridge))
    white = torch.linalg.solve_triangular(lower, own.transpose(2, 3), upper=False)  # [b, d, m, n]
    flat = white.reshape(b, d * m, n)
    across = flat @ flat.transpose(1, 2)
    across = across / counts.to(features.dtype).repeat_interleave(m, 1).repeat_interleave(m, 2)
    across = across.clamp(-MAX_CORRELATION, MAX_CORRELATION)
    rank = present.sum(-1).to(features.dtype).clamp(min=1)
    degrees = rank[:, :, None] * rank[:, None, :]
    cells = across.reshape(b, d, m, d, m)
    evidence = counts if share is None else counts * share.to(counts.dtype)
    given = _given_one(cells, evidence, degrees)
    eye = torch.eye(d, dtype=torch.bool, device=features.device)
    shut = eye[:, None, :] | eye[None, :, :]
    alone = _excess(cells.square().sum((2, 4)), evidence, degrees)
    least = given.masked_fill(shut, torch.inf).amin(-1) if d > 2 else alone
    within = torch.block_diag(*[torch.ones(m, m, device=features.device)] * d).bool()
    single = torch.eye(d * m, dtype=features.dtype, device=features.device)
    between = torch.where(within, single, across)
    full = partial(_definite(between), evidence).reshape(b, d, m, d, m)
    return Association(alone, _excess(full.square().sum((2, 4)), evidence, degrees), least.masked_fill(eye, 0.0), given)


def _excess(squares: Float[Tensor, "..."], counts: Float[Tensor, "..."], degrees: Float[Tensor, "..."]) -> Tensor:
    """sign·log(1 + |x|) of x = (n·Σρ² - r)/√(2r)."""
    excess = (counts * squares - degrees) * (2 * degrees).rsqrt()
    return excess.sign() * torch.log1p(excess.abs())


def _given_one(cells: Float[Tensor, "b d m d m"], counts: Matrix, degrees: Matrix) -> Float[Tensor, "b d d d"]:
    """`Association.given`, computed for one k at a time to bound memory."""
    b, d, m, _, _ = cells.shape
    found = []
    for k in range(d):
        to_k = cells[:, :, :, k, :]  # [b, d, m, m]
        flat = to_k.reshape(b, d * m, m)
        rest = cells.reshape(b, d * m, d * m) - flat @ flat.transpose(1, 2)
        left = (1 - flat.square().sum(-1)).clamp(min=0.05).rsqrt()
        rest = rest * left[:, :, None] * left[:, None, :]
        squares = rest.reshape(b, d, m, d, m).square().sum((2, 4))
        found.append(_excess(squares, counts, degrees))
    return torch.stack(found, -1)


def _moments(standard: Float[Tensor, "b n d"], counts: Matrix, root: Matrix) -> Matrix:
    """[i, j]: log(1 + √n·|mean of z_i²·z_j|), about 0 for linear Gaussian columns."""
    mean = (standard.square().transpose(1, 2) @ standard) / counts
    return torch.log1p(root * mean.abs())
