"""Pictures drawn in independent pieces: batches, or single pictures that are searched for; here, or by a cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.fan_out import fan_out, workers_of_cluster
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample_batches
from intaglio.sampling.search.best_noise import BestNoise
from intaglio.sampling.search.noise_search import FoundNoise


@dataclass(frozen=True)
class PicturePiece:
    """Pictures that are drawn at once."""

    places: tuple[int, ...]
    """Places among all pictures, which say nothing of their bits."""
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]


def picture_pieces(prompts: Sequence[str], seeds: Sequence[int], size: int) -> list[PicturePiece]:
    """All pictures in their order, cut into pieces of `size`, the last of which may be smaller."""
    cuts = [range(first, min(first + size, len(prompts))) for first in range(0, len(prompts), size)]
    return [PicturePiece(tuple(cut), tuple(prompts[k] for k in cut), tuple(seeds[k] for k in cut)) for cut in cuts]


def drawn_pieces(
    model: LatentDiffusion, pieces: Sequence[PicturePiece], *, told: Callable[[Any], object], run: Run, **options: Any
) -> Iterator[tuple[PicturePiece, Float[Tensor, "n 3 h w"]]]:
    """The pixels of each piece as soon as they are there, in the order of the pieces where one process draws.

    Inside `on_cluster` each piece is drawn there, and `told` is called at the end, in the order of the pieces.

    Args:
        model: left as it was found.
        pieces: of one size, but for the last.
        told: called with what a method has to say of each piece.
        run: shows the progress.
        options: of `sample_batches`; a method that is fitted has its fit among them.
    """
    if not pieces:
        return
    if (workers := workers_of_cluster()) == 1:
        prompts = [prompt for piece in pieces for prompt in piece.prompts]
        seeds = [seed for piece in pieces for seed in piece.seeds]
        size = len(pieces[0].seeds)
        batches = sample_batches(model, prompts, seeds, **options, batch=size, run=run, told=told)
        yield from zip(pieces, batches, strict=True)
        return
    traces = dict[PicturePiece, list[Any]]()
    with run.progress(sum(len(piece.seeds) for piece in pieces), "pictures") as progress:
        for piece, (pixels, said) in fan_out(_Drawing(model, options), pieces, workers):
            traces[piece] = said
            progress.advance(len(piece.seeds))
            yield piece, pixels
    for piece in pieces:
        for trace in traces[piece]:
            told(trace)


def searched_pictures(
    model: LatentDiffusion, best: BestNoise, pictures: Sequence[PicturePiece], *, count: int, run: Run, **options: Any
) -> Iterator[tuple[PicturePiece, FoundNoise]]:
    """The best of `count` candidates of each picture as soon as it is found; inside `on_cluster` they are found there.

    Args:
        model: left as it was found.
        best: the search.
        pictures: pieces of one picture.
        count: candidates of a picture, as `BestNoise.candidates` gives it.
        run: shows the progress.
        options: of `BestNoise.__call__`.
    """
    workers = workers_of_cluster()
    with run.progress(count * len(pictures), "candidates") as progress:
        here = {"advance": progress.advance} if workers == 1 else {}
        work = _Searching(model, best, {**options, **here, "count": count})
        for picture, found in fan_out(work, pictures, workers):
            if not here:
                progress.advance(count)
            yield picture, found


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Draws a piece, in whatever process."""

    model: LatentDiffusion
    options: Mapping[str, Any]

    def __call__(self, piece: PicturePiece) -> tuple[Tensor, list[Any]]:
        said = list[Any]()
        prompts, seeds = piece.prompts, piece.seeds
        (pixels,) = sample_batches(self.model, prompts, seeds, **self.options, batch=len(seeds), told=said.append)
        return pixels, said


@dataclass(frozen=True, eq=False)
class _Searching:
    """Searches for a picture, in whatever process."""

    model: LatentDiffusion
    best: BestNoise
    options: Mapping[str, Any]

    def __call__(self, picture: PicturePiece) -> FoundNoise:
        return self.best(self.model, picture.prompts[0], picture.seeds[0], **self.options)
