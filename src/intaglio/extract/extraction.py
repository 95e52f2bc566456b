"""The work that every extraction method shares: generate, group, rank, select; a method gives the sampler's guide."""

from collections.abc import Sequence

import torch

from intaglio.denoising.loss_difference import loss_difference
from intaglio.denoising.model_pair import same_autoencoder
from intaglio.errors import IntaglioError
from intaglio.extract.extracted import Extraction, Find
from intaglio.extract.generate import BLANK, FAILED, Generated, GuideOf, PictureCache, generate, picture_cache
from intaglio.extract.generate import forget as forget_generated
from intaglio.extract.grouping import Cluster, cluster, ranked, select, stopping_rule
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.settings import GenerationSettings
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run

DRAWN, CONTROL = "drawn", "control"
"""Labels of the pictures of an extraction and of its control, in a run's folder."""
COLLAPSED_SHARE = 0.8
"""Share of the pictures in one group from which the guidance has lost all others."""


def extract(
    name: str, settings: GenerationSettings, guide: GuideOf, inputs: ExtractionInputs, run: Run, workers: int
) -> Extraction:
    """Generate, group, rank and select, by the method called `name`. See `Extractor.__call__`."""
    key = inputs.key(name, settings)
    with picture_cache(run, DRAWN) as pictures:
        generated = generate(
            settings,
            guide,
            inputs,
            pictures,
            count=settings.generations,
            enough=stopping_rule(settings),
            label=DRAWN,
            key=key,
            run=run,
            workers=workers,
        )
        if len(generated.seeds) < max(2, settings.pictures or 0):
            raise IntaglioError(
                f"of {generated.count} pictures only {len(generated.seeds)} can be compared ({_reasons(generated)}); "
                "lower the guidance scale, or seek fewer pictures"
            )
        found = cluster(settings, generated)
        groups = ranked(found, generated)
        finds = _finds(settings, select(settings, groups), generated, pictures, inputs)
        pixels = pictures.get([find.seed for find in finds]) if finds else _none(inputs.suspect)
    about = (_about_pair(inputs), _about_generated(settings, generated), _about_groups(settings, groups, generated))
    warnings = [warning for part in about for warning in part]
    names = [f"{rank:03d}-seed-{find.seed}.png" for rank, find in enumerate(finds)]
    return Extraction(
        method=name,
        pictures=ImageSet.from_pixels(pixels, names, [find.prompt for find in finds]),
        finds=tuple(finds),
        drawn=generated.count,
        excluded=generated.excluded,
        threshold=found.threshold,
        scores=scores_of(groups),
        descriptors=torch.from_numpy(generated.descriptors),
        exact=found.exact,
        prompted=inputs.prompted,
        warnings=tuple(warnings),
    )


def forget(settings: GenerationSettings, run: Run) -> None:
    """Drops the states of `extract` and of its control; to be called once the result is safe."""
    for label in (DRAWN, CONTROL):
        forget_generated(run, settings, label)


def scores_of(groups: Sequence[Cluster]) -> torch.Tensor:
    """The score of every group, lone pictures among them, float64 [groups]."""
    return torch.tensor([group.score for group in groups], dtype=torch.float64)


def _finds(
    settings: GenerationSettings,
    chosen: Sequence[Cluster],
    generated: Generated,
    pictures: PictureCache,
    inputs: ExtractionInputs,
) -> list[Find]:
    indices = [group.representative for group in chosen]
    alike = generated.descriptors[indices] @ generated.descriptors[indices].T
    drawn = [(generated.seeds[i], generated.prompts[i]) for i in indices]
    differences = _loss_differences(settings, drawn, pictures, inputs)
    finds = []
    for rank, group in enumerate(chosen):
        others = [float(alike[rank, other]) for other in range(len(chosen)) if other != rank]
        find = Find(
            seed=generated.seeds[group.representative],
            prompt=generated.prompts[group.representative],
            members=tuple(generated.seeds[member] for member in group.members),
            cohesion=group.cohesion,
            lowest=group.lowest,
            nearest_other=max(others, default=float("nan")),
            loss_difference=differences[rank],
            score=group.score,
        )
        finds.append(find)
    return finds


def _loss_differences(
    settings: GenerationSettings, drawn: Sequence[tuple[int, str]], pictures: PictureCache, inputs: ExtractionInputs
) -> list[float]:
    """The base's denoising loss less the suspect's, of each (seed, prompt); one prompt's go through together."""
    found = dict[tuple[int, str], float]()
    for prompt in dict.fromkeys(prompt for _, prompt in drawn):
        same_prompt = [one for one in drawn if one[1] == prompt]
        for first in range(0, len(same_prompt), settings.batch):
            part = same_prompt[first : first + settings.batch]
            pixels = pictures.get([seed for seed, _ in part])
            differences = loss_difference(inputs.suspect, inputs.base, pixels, prompt)
            found |= dict(zip(part, differences.tolist(), strict=True))
    return [found[one] for one in drawn]


def _none(model: LatentDiffusion) -> torch.Tensor:
    return torch.zeros(0, 3, model.resolution, model.resolution)


def _about_pair(inputs: ExtractionInputs) -> list[str]:
    suspect, base = inputs.suspect, inputs.base
    if same_autoencoder(suspect, base):
        return []
    return [f"{suspect.name} has an autoencoder of its own, which decodes the pictures; {base.name} has another"]


def _about_generated(settings: GenerationSettings, generated: Generated) -> list[str]:
    found = []
    if failed := generated.excluded.get(FAILED):
        found.append(
            f"{failed} of {generated.count} pictures turned into NaN or infinity and are left out; load the models in "
            "float32, or lower the guidance scale"
        )
    if blank := generated.excluded.get(BLANK):
        found.append(f"{blank} of {generated.count} pictures are of one colour and are left out")
    if generated.count < settings.generations:
        found.append(
            f"stopped after {generated.count} of {settings.generations} pictures: the returned ones no longer changed"
        )
    return found


def _about_groups(settings: GenerationSettings, groups: Sequence[Cluster], generated: Generated) -> list[str]:
    largest = max(len(group.members) for group in groups)
    if settings.pictures == 1 or largest <= COLLAPSED_SHARE * len(generated.seeds):
        return []
    return [
        f"{largest} of {len(generated.seeds)} pictures are one group: the suspect draws hardly anything else, or the "
        "guidance scale is too large"
    ]


def _reasons(generated: Generated) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in generated.excluded.items()) or "no failures"
