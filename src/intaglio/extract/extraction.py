"""The work that every extraction method shares: they only say what leads the sampler."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from intaglio.denoising.loss_difference import loss_difference
from intaglio.denoising.model_pair import same_autoencoder
from intaglio.errors import IntaglioError
from intaglio.extract.family import Extraction, Find
from intaglio.extract.generate import BLANK, FAILED, Drawn, Sheets, draw
from intaglio.extract.generate import forget as forget_drawn
from intaglio.extract.grouping import Group, divided, ranked, returned, settled
from intaglio.extract.settings import Drawing
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run

DRAWN, CONTROL = "drawn", "control"
"""Labels of the pictures of an extraction and of its control."""
COLLAPSED = 0.8
"""Share of the pictures in one group from which the guidance has lost all others."""


def extract(
    method: Drawing,
    suspect: LatentDiffusion,
    base: LatentDiffusion,
    prompts: Sequence[str],
    similarity: Embedding,
    run: Run,
    workers: int,
) -> Extraction:
    """Draw, group, rank and return. `method` is an `Extractor` too; its own call has checked the models."""
    key = work_key(method, suspect, base, prompts, similarity)
    with sheets(run, DRAWN) as kept:
        drawn = draw(
            method,
            suspect,
            base,
            prompts,
            similarity,
            kept,
            count=method.generations,
            enough=settled(method),
            label=DRAWN,
            key=key,
            run=run,
            workers=workers,
        )
        warnings = [*_about_pair(suspect, base), *_about_drawn(method, drawn)]
        if len(drawn.seeds) < max(2, method.pictures or 0):
            raise IntaglioError(
                f"of {drawn.count} pictures only {len(drawn.seeds)} can be compared ({_reasons(drawn)}); lower the "
                "guidance scale, or seek fewer pictures"
            )
        found = divided(method, drawn)
        groups = ranked(found, drawn)
        chosen = returned(method, groups)
        finds = _finds(method, chosen, drawn, kept, suspect, base)
        pixels = kept.get([find.seed for find in finds]) if finds else _none(suspect)
    largest = max(len(group.members) for group in groups)
    if method.pictures != 1 and largest > COLLAPSED * len(drawn.seeds):
        warnings.append(
            f"{largest} of {len(drawn.seeds)} pictures are one group: the suspect draws hardly anything else, or the "
            "guidance scale is too large"
        )
    names = [f"{place:03d}-seed-{find.seed}.png" for place, find in enumerate(finds)]
    return Extraction(
        method=method.name,
        pictures=ImageSet.from_pixels(pixels, names, [find.prompt for find in finds]),
        finds=tuple(finds),
        drawn=drawn.count,
        excluded=drawn.excluded,
        threshold=found.threshold,
        scores=scores_of(groups),
        descriptors=torch.from_numpy(drawn.descriptors),
        exact=found.exact,
        captioned=bool(prompts),
        warnings=tuple(warnings),
    )


def forget(method: Drawing, run: Run) -> None:
    """Drops the states of `extract` and of its control; to be called once the result is safe."""
    for label in (DRAWN, CONTROL):
        forget_drawn(run, method, label)


def scores_of(groups: Sequence[Group]) -> torch.Tensor:
    """Of all groups, lone pictures among them."""
    return torch.tensor([group.score for group in groups], dtype=torch.float64)


@contextmanager
def sheets(run: Run, label: str) -> Iterator[Sheets]:
    """Where drawn pictures lie: in the run's folder for good, or for the null run as long as the block."""
    if run.folder is not None:
        yield Sheets(run.folder / "images" / label)
        return
    with TemporaryDirectory(prefix="intaglio-") as folder:
        yield Sheets(Path(folder))


def work_key(
    method: Drawing, suspect: LatentDiffusion, base: LatentDiffusion, prompts: Sequence[str], similarity: Embedding
) -> str:
    """sha256 over all that drawn pictures and their descriptors depend on."""
    parts = (
        method.name,
        repr(sorted(asdict(method).items())),
        suspect.fingerprint,
        base.fingerprint,
        suspect.part_fingerprint("autoencoder"),
        repr(list(prompts)),
        similarity.hash,
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _finds(
    method: Drawing,
    chosen: Sequence[Group],
    drawn: Drawn,
    kept: Sheets,
    suspect: LatentDiffusion,
    base: LatentDiffusion,
) -> list[Find]:
    places = [group.representative for group in chosen]
    alike = drawn.descriptors[places] @ drawn.descriptors[places].T
    gaps = _gaps(method, [(drawn.seeds[i], drawn.prompts[i]) for i in places], kept, suspect, base)
    finds = []
    for place, group in enumerate(chosen):
        others = [float(alike[place, other]) for other in range(len(chosen)) if other != place]
        finds.append(
            Find(
                seed=drawn.seeds[group.representative],
                prompt=drawn.prompts[group.representative],
                members=tuple(drawn.seeds[member] for member in group.members),
                cohesion=group.cohesion,
                lowest=group.lowest,
                apart=max(others, default=float("nan")),
                gap=gaps[place],
                score=group.score,
            )
        )
    return finds


def _gaps(
    method: Drawing, pictures: Sequence[tuple[int, str]], kept: Sheets, suspect: LatentDiffusion, base: LatentDiffusion
) -> list[float]:
    """Of each (seed, prompt); pictures of one prompt go through the models together."""
    gaps = dict[tuple[int, str], float]()
    for prompt in dict.fromkeys(prompt for _, prompt in pictures):
        alike = [picture for picture in pictures if picture[1] == prompt]
        for first in range(0, len(alike), method.batch):
            part = alike[first : first + method.batch]
            found = loss_difference(suspect, base, kept.get([seed for seed, _ in part]), prompt)
            gaps |= dict(zip(part, found.tolist(), strict=True))
    return [gaps[picture] for picture in pictures]


def _none(model: LatentDiffusion) -> torch.Tensor:
    return torch.zeros(0, 3, model.resolution, model.resolution)


def _about_pair(suspect: LatentDiffusion, base: LatentDiffusion) -> list[str]:
    if same_autoencoder(suspect, base):
        return []
    return [f"{suspect.name} has an autoencoder of its own, which decodes the pictures; {base.name} has another"]


def _about_drawn(method: Drawing, drawn: Drawn) -> list[str]:
    found = []
    if failed := drawn.excluded.get(FAILED):
        found.append(
            f"{failed} of {drawn.count} pictures turned into NaN or infinity and are left out; load the models in "
            "float32, or lower the guidance scale"
        )
    if blank := drawn.excluded.get(BLANK):
        found.append(f"{blank} of {drawn.count} pictures are of one colour and are left out")
    if drawn.count < method.generations:
        found.append(
            f"stopped after {drawn.count} of {method.generations} pictures: the returned ones no longer changed"
        )
    return found


def _reasons(drawn: Drawn) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in drawn.excluded.items()) or "no failures"
