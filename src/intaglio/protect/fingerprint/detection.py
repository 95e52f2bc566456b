"""Detection: whether pictures carry a key's mark, and whose, with a false-positive rate over users and seeds."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.family import NoiseMark, PictureMark, PixelMark, WeightMark
from intaglio.protect.fingerprint.mark_key import MOST_USERS, MarkKey
from intaglio.protect.fingerprint.result import FoundMark, MarkDetections
from intaglio.runs.run import Run
from intaglio.sampling.start import latent_shape_of

AT_ONCE = 16
"""Pictures that are read together by a model."""
BLOCK = 4096
"""Users whose marks are held together."""
READINGS = "readings"
"""Kind of the records of what was found in a picture."""


def detect(
    mark: PictureMark,
    names: Sequence[str],
    pixels: Sequence[Float[Tensor, "3 _ _"]],
    key: MarkKey,
    *,
    model: LatentDiffusion | None = None,
    users: int = 1,
    seeds: Sequence[int] = (0,),
    fpr: float = 1e-6,
    controls: Sequence[Float[Tensor, "3 _ _"]] = (),
    run: Run = Run.none(),
) -> MarkDetections:
    """The likeliest user's mark in each picture, with its p-value.

    p is min(1, users * seeds * the smallest chance of all that were tried): at most the rate asked for of unmarked
    pictures is called, whatever was tried.

    Args:
        mark: with the settings that the pictures were marked with.
        names: of n pictures.
        pixels: n pictures in [0, 1], of their own sizes; of the model's resolution for a `NoiseMark`.
        key: the secret.
        model: the one that drew, for a `NoiseMark`; it is left as it was found.
        users: 0, 1, ... that are tried, from 1.
        seeds: that are tried for marks with nonces; others take none.
        fpr: false-positive rate asked for, in (0, 1).
        controls: pictures of the same kind that certainly carry no mark, which say whether the rate holds.
        run: progress and records; a killed call goes on after the last batch.

    Raises:
        BadInput: for no pictures, no users or seeds, a rate below the smallest p, and for what the mark cannot read.
    """
    if not pixels or users < 1 or not seeds:
        raise BadInput("detection takes one picture, one user and one seed, at least; give more of what is missing")
    if users > MOST_USERS:
        raise BadInput(f"{users:,} users cannot be tried, {MOST_USERS:,} being the most; try fewer")
    if not 0 < fpr < 1:
        raise ValueError(f"the false-positive rate must lie between 0 and 1, not {fpr}")
    if (least := users * mark.least_p) > fpr:
        raise BadInput(
            f"with this key p is {least:.2g} or more for {users:,} {'user' if users == 1 else 'users'}, so that a rate "
            f"of {fpr:g} calls nothing; give a larger --fpr, or fewer --users"
        )
    _check(mark, names, [*pixels, *controls], model)
    tried = tuple(seeds) if mark.nonces else (0,)
    roles = [f"picture {place}" for place in range(len(pixels))] + [f"control {k}" for k in range(len(controls))]
    every, called = [*pixels, *controls], [*names, *(f"control {k}" for k in range(len(controls)))]
    known = {role: FoundMark(**row) for role, row in run.recorded(READINGS).items()}
    left = [place for place, role in enumerate(roles) if role not in known]
    with run.progress(len(roles), mark.name, len(roles) - len(left)) as progress:
        for first in range(0, len(left), AT_ONCE):
            rows = left[first : first + AT_ONCE]
            readings = _readings(mark, [every[k] for k in rows], model)
            for place, found in zip(rows, _likeliest(mark, readings, key, users, tried), strict=True):
                known[roles[place]] = replace(found, name=called[place])
                run.record(READINGS, roles[place], asdict(known[roles[place]]))
                progress.advance()
    found = [known[role] for role in roles]
    about = (mark.name, mark.reading, mark.null, key.hash, users, len(tried), fpr)
    return MarkDetections(*about, tuple(found[: len(pixels)]), tuple(found[len(pixels) :]))


def _check(
    mark: PictureMark, names: Sequence[str], pixels: Sequence[Float[Tensor, "3 _ _"]], model: LatentDiffusion | None
) -> None:
    if isinstance(mark, NoiseMark):
        if model is None:
            raise BadInput(f"{mark.name} is read by the model that drew the pictures; give it with --model")
        check_needs(mark, model)
        mark.check_shape(latent_shape_of(model), model.name)
        return
    for name, one in zip([*names, *["a control"] * len(pixels)], pixels, strict=False):
        mark.check_shape(one.shape, name)


def _readings(
    mark: PictureMark, pixels: Sequence[Float[Tensor, "3 _ _"]], model: LatentDiffusion | None
) -> Float[Tensor, "n *shape"]:
    if isinstance(mark, NoiseMark) and model is not None:
        return mark.read(model, torch.stack(list(pixels)))
    if isinstance(mark, PixelMark | WeightMark):
        with torch.no_grad():
            return torch.cat([mark.read(one[None]) for one in pixels])
    raise TypeError(f"{mark.name} reads neither pixels nor noise")


def _likeliest(
    mark: PictureMark, readings: Float[Tensor, "n *shape"], key: MarkKey, users: int, seeds: Sequence[int]
) -> list[FoundMark]:
    """The user and seed of the smallest chance for each reading; the first of equal ones, with the others' number."""
    best: dict[int, FoundMark] = {}
    for first in range(0, users, BLOCK):
        block = range(first, min(first + BLOCK, users))
        meant = mark.meant(key, block, readings.shape[1:])
        for seed in seeds:
            found = mark.agreement(readings, meant, key, seed)
            for row, place in enumerate(found.p.argmin(1).tolist()):
                p, known = float(found.p[row, place]), best.get(row)
                if known is not None and p > known.p:
                    continue
                alike = int((found.p[row] == p).sum())
                if known is not None and p == known.p:
                    best[row] = replace(known, rivals=known.rivals + alike)
                    continue
                bits = None if found.bits is None else float(found.bits[row, place])
                nonce = seed if mark.nonces else None
                best[row] = FoundMark(
                    "", p, float(found.statistic[row, place]), block[place], nonce, bits, rivals=alike - 1
                )
    tried = users * len(seeds)
    return [replace(best[row], p=min(1.0, best[row].p * tried)) for row in range(len(readings))]
