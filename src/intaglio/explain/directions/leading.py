"""Pictures of fixed seeds led along found directions at several strengths."""

from collections.abc import Sequence
from math import nan

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.explain.directions.family import DirectionJudge
from intaglio.explain.directions.result import Directions, LedPictures
from intaglio.explain.random_shifts import random_shifts
from intaglio.explain.site_walks import LATENTS, Walk, shifted_pictures
from intaglio.metrics.similarity.measures import Similarity
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.site_edit import SiteEdit, ValueShifts

KIND = "led"
"""Of the run's records, one a batch of led pictures."""
PLAIN = "unled"
"""State of the run that keeps the pictures that are led nowhere."""


def shown_seeds(seed: int, count: int) -> list[int]:
    """Seeds of pictures that are shown, which are not those of samples."""
    return [seed_32bit(seed, "shown", k) for k in range(count)]


def lead_pictures(
    model: LatentDiffusion,
    directions: Directions,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    strengths: Sequence[float],
    similarity: Similarity,
    judge: DirectionJudge | None = None,
    batch: int = 8,
    seed: int = 0,
    run: Run = Run.none(),
) -> LedPictures:
    """Pictures led along each direction, and along a random one as long as the first, the control.

    Args:
        model: the one that the directions are of, or another of its layout; left as it was found.
        directions: found before, of these pictures or of others.
        prompts: one or more; picture k has the k-th, from the first on again.
        seeds: one a picture; where directions are of single pictures, these.
        strengths: one or more beside 0, which is added.
        similarity: measures how much of a picture is kept.
        judge: of the class that is followed; None: none is.
        batch: pictures drawn at once; the result is the same, up to its rounding.
        seed: of the control.
        run: progress, records and pictures; a killed call goes on after the last batch.

    Raises:
        BadInput: for a site or steps that the model has not, for other pictures than those that directions are of, and
            for no pictures.
    """
    walk = Walk(directions.site, directions.steps, directions.guidance)
    walk.check(model)
    if not seeds or not prompts:
        raise BadInput("there is no picture to lead; give one prompt and one picture at least")
    if directions.seeds and tuple(seeds) != directions.seeds:
        raise BadInput(f"directions by {directions.method} are of their own pictures alone; find those of the others")
    texts = [prompts[k % len(prompts)] for k in range(len(seeds))]
    levels = tuple(sorted({0.0, *map(float, strengths)}))
    key = digest(
        [model.fingerprint, texts, list(seeds), levels, digest(directions.shifts.double().sum().item()), batch]
    )
    plain = _plain(model, texts, seeds, walk, batch, key, run)
    lengths, shape = directions.lengths[:, 0], directions.shifts.shape[3:]
    every = [*directions.shifts.unbind(1), random_shifts(lengths, shape, seed, "control")]
    rows = [(a, k) for a, level in enumerate(levels) if level for k in range(len(seeds))]
    parts = [rows[first : first + batch] for first in range(0, len(rows), batch)]
    known = {name: one for name, one in run.recorded(KIND).items() if one.get("key") == key}
    scores = np.full((len(every), len(levels), len(seeds)), nan)
    kept = np.ones_like(scores)
    if judge is not None:
        scores[:] = judge.scores[judge.target](plain).double().numpy()
    with run.progress(len(every) * len(parts), KIND, len(known)) as progress:
        for d, shifts in enumerate(every):
            for number, part in enumerate(parts):
                if (name := f"{d}-{number}") not in known:
                    pixels = _led(model, texts, seeds, walk, shifts, [(levels[a], k) for a, k in part])
                    for (a, k), one in zip(part, pixels, strict=True):
                        run.save_image(f"{d}-{a}-{k}", one)
                    known[name] = {"key": key, **_measured(pixels, plain[[k for _, k in part]], similarity, judge)}
                    run.record(KIND, name, known[name])
                    progress.advance()
                at = tuple(np.array(part).T)
                kept[d][at] = known[name]["similarity"]
                if judge is not None:
                    scores[d][at] = known[name]["scores"]
    return LedPictures(
        directions, tuple(texts), tuple(seeds), levels, "" if judge is None else judge.target, scores, kept
    )


def direction_edits(model: LatentDiffusion, directions: Directions) -> list[SiteEdit]:
    """Each direction as an edit at strength 1, which `intaglio sample --edit` takes.

    None where directions are of single pictures, or of the latents, which no module gives.
    """
    if len(directions.shifts) > 1 or directions.seeds or directions.site == LATENTS:
        return []
    timesteps = tuple(Walk(directions.site, directions.steps, directions.guidance).timesteps(model))
    about = directions.site, ("direction",), directions.model
    return [SiteEdit(*about, ValueShifts(one, timesteps)) for one in directions.shifts[0].split(1)]


def forget_led(run: Run) -> None:
    """Drops what a run kept to go on from; to be called once its result is safe."""
    run.drop_state(PLAIN)


def _plain(
    model: LatentDiffusion, texts: Sequence[str], seeds: Sequence[int], walk: Walk, batch: int, key: str, run: Run
) -> Float[Tensor, "n 3 h w"]:
    """The pictures that are led nowhere, stored."""
    stored = run.load_state(PLAIN)
    if stored is not None and stored[1].get("key") == key:
        return stored[0]["pixels"]
    cuts = [slice(first, first + batch) for first in range(0, len(seeds), batch)]
    pixels = torch.cat([shifted_pictures(model, texts[cut], seeds[cut], walk, None) for cut in cuts])
    for k, one in enumerate(pixels):
        run.save_image(f"plain-{k}", one)
    run.save_state(PLAIN, {"pixels": pixels}, {"key": key})
    return pixels


def _led(
    model: LatentDiffusion,
    texts: Sequence[str],
    seeds: Sequence[int],
    walk: Walk,
    shifts: Float[Tensor, "p s *shape"],
    rows: Sequence[tuple[float, int]],
) -> Float[Tensor, "n 3 h w"]:
    """Pictures at strengths, along one direction."""
    places = [k for _, k in rows]
    own = shifts[places] if len(shifts) > 1 or len(seeds) == 1 else shifts.expand(len(rows), *shifts.shape[1:])
    levels = torch.tensor([level for level, _ in rows]).view(-1, *[1] * (shifts.dim() - 1))
    return shifted_pictures(model, [texts[k] for k in places], [seeds[k] for k in places], walk, levels * own)


def _measured(
    pixels: Float[Tensor, "n 3 h w"],
    plain: Float[Tensor, "n 3 h w"],
    similarity: Similarity,
    judge: DirectionJudge | None,
) -> dict[str, list[float]]:
    """Similarity with pictures that were led nowhere, and scores."""
    found = {"similarity": similarity(pixels, plain).tolist()}
    if judge is not None:
        found["scores"] = judge.scores[judge.target](pixels).tolist()
    return found
