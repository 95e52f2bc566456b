"""Purification of a folder: every picture cleaned in its own size, and written beside what its file holds else."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from intaglio.errors import BadInput
from intaglio.images.image_set import pixel_hash, to_uint8
from intaglio.metrics.quality import psnr, ssim
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.budget import largest_difference
from intaglio.protect.originals import Original
from intaglio.protect.purify.family import Purifier
from intaglio.protect.purify.result import PurifiedPicture, PurifiedPictures
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run

KIND = "purified"
"""Kind of the records of cleaned pictures."""


def purify_pictures(
    method: Purifier,
    originals: Sequence[Original],
    folder: Path,
    *,
    model: LatentDiffusion | None = None,
    seed: int = 0,
    run: Run = Run.none(),
) -> PurifiedPictures:
    """Pictures cleaned one by one, each in its own size, with its name, EXIF and transparency.

    Args:
        method: with its settings.
        originals: one or more.
        folder: where they are written, each as soon as it is done.
        model: for methods that use one; it is left as it was found.
        seed: of what is drawn, for each picture its own by its content.
        run: progress and records; a killed call goes on after the last picture.

    Raises:
        BadInput: for no pictures, and for a model that is missing or lacks what the method needs.
    """
    if not originals:
        raise BadInput("there are no pictures to clean; name a folder with at least one")
    if method.uses_model:
        if model is None:
            raise BadInput(f"{method.name} cleans by a model; give one with --model")
        check_needs(method, model)
    rows = {name: PurifiedPicture(**row) for name, row in run.recorded(KIND).items()}
    known = {name: row for name, row in rows.items() if (folder / row.saved).is_file()}
    with run.progress(len(originals), method.name, sum(one.name in known for one in originals)) as progress:
        for one in originals:
            if one.name in known:
                continue
            given = one.tensor
            own = seed_32bit(seed, pixel_hash(to_uint8(given[0])))
            clean = method.clean(given, model, own)
            if one.grey:  # a network may leave three channels that differ a little
                clean = clean.mean(1, keepdim=True).expand_as(clean)
            cleaned = to_uint8(clean)
            levels = np.ascontiguousarray(cleaned[0].permute(1, 2, 0).numpy())
            one.save(levels, folder)
            back = cleaned.float() / 255
            apart = largest_difference(one.pixels, levels)
            ratio = float(psnr(back, given)) if apart else None
            known[one.name] = PurifiedPicture(one.name, one.saved_name, apart, ratio, float(ssim(back, given)))
            run.record(KIND, one.name, asdict(known[one.name]))
            progress.advance()
    return PurifiedPictures(method.label, method.words, folder, tuple(known[one.name] for one in originals))
