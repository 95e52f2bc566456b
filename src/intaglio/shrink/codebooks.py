"""Codebooks of groups of weights: fitted by k-means on residuals, and the search of the entries nearest to a group."""

import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Generator, Tensor

WIDTH = 5
"""Beams of a search."""
LEARNED, CHUNK = 2**15, 2**13
"""Most groups that books are fitted to, and groups that are searched at once."""
ROUNDS, JOINT_ROUNDS = 10, 3
"""Rounds of k-means of each book, and of all books together after."""


def fitted_books(
    groups: Float32[Tensor, "k g"], count: int, entries: int, source: Generator
) -> Float32[Tensor, "m K g"]:
    """So many books, whose sums of one entry each are near to the groups.

    Each is fitted by k-means to what those before it leave, its entries at first groups at random; then all together,
    codes by a search and books by means in turn. An entry that no group takes becomes the group of the largest error.
    At most 32,768 groups are learned from.
    """
    learned = groups[torch.randperm(len(groups), generator=source)[:LEARNED]]
    left, books, codes = learned, list[Tensor](), list[Tensor]()
    for _ in range(count):
        book = left[torch.randint(len(left), (entries,), generator=source)].clone()
        for _ in range(ROUNDS):
            code = nearest_codes(left, book[None], torch.zeros(1, len(left), dtype=torch.uint8))[0]
            book = _means(left, code, book)
        codes.append(code := nearest_codes(left, book[None], torch.zeros(1, len(left), dtype=torch.uint8))[0])
        books.append(book)
        left = left - book[code.long()]
    found, known = torch.stack(books), torch.stack(codes)
    for _ in range(JOINT_ROUNDS if count > 1 else 0):
        for place in range(count):
            others = decoded(known, found) - found[place][known[place].long()]
            found[place] = _means(learned - others, known[place], found[place])
        known = nearest_codes(learned, found, known)
    return found


def nearest_codes(
    groups: Float[Tensor, "k g"], books: Float[Tensor, "m K g"], codes: UInt8[Tensor, "m k"]
) -> UInt8[Tensor, "m k"]:
    """Codes whose sums of entries are nearer to the groups than those of `codes`, or these where none was found.

    Book by book all entries are tried in the place of each beam's own, and the five best sums are kept.
    """
    parts = [
        _searched(part, books, known)
        for part, known in zip(groups.split(CHUNK), codes.split(CHUNK, dim=1), strict=True)
    ]
    return torch.cat(parts, 1)


def decoded(codes: UInt8[Tensor, "m k"], books: Float[Tensor, "m K g"]) -> Float[Tensor, "k g"]:
    """The sums of entries that codes stand for."""
    return torch.stack([book[code.long()] for book, code in zip(books, codes, strict=True)]).sum(0)


def _searched(groups: Tensor, books: Tensor, codes: Tensor) -> UInt8[Tensor, "m k"]:
    beams = codes.T[:, None].long()
    left = (groups - decoded(codes, books))[:, None]
    entries = books.shape[1]
    for place, book in enumerate(books):
        rest = left + book[beams[:, :, place]]
        squares = rest.square().sum(2, keepdim=True) - 2 * rest @ book.T + book.square().sum(1)
        wide = WIDTH if place < len(books) - 1 else 1
        best = squares.flatten(1).topk(min(wide, squares[0].numel()), largest=False).indices
        beams = _picked(beams, best // entries)
        beams[:, :, place] = best % entries
        left = _picked(rest, best // entries) - book[best % entries]
    before = (groups - decoded(codes, books)).square().sum(1)
    return torch.where(left[:, 0].square().sum(1) < before, beams[:, 0].T.to(torch.uint8), codes)


def _picked(values: Tensor, places: Int[Tensor, "k w"]) -> Tensor:
    """Of each row of [k, beams, d], the beams at these places."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]))


def _means(groups: Tensor, code: Tensor, book: Tensor) -> Float32[Tensor, "K g"]:
    """The mean of the groups that take each entry; those of the largest errors where none does."""
    taken = torch.bincount(code.long(), minlength=len(book))
    sums = torch.zeros_like(book).index_add_(0, code.long(), groups)
    means = sums / taken.clamp(min=1)[:, None]
    errors, unused = (groups - means[code.long()]).square().sum(1), (taken == 0).nonzero()[:, 0]
    worst = errors.topk(min(len(unused), len(groups))).indices
    means[unused[: len(worst)]] = groups[worst]
    return means
