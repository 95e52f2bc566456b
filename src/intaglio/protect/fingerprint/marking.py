"""Marking: pictures given back with a mark in their pixels, or drawn from noise that carries it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.errors import BadInput
from intaglio.images.image_set import save_png, to_uint8
from intaglio.metrics.quality import psnr
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.family import MarkAgreement, NoiseMark, PictureMark, PixelMark
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.result import MarkedPicture, MarkedPictures
from intaglio.protect.originals import Original
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample_batches
from intaglio.sampling.start import GivenLatents, latent_shape_of

KIND = "marked"
"""Kind of the records of marked pictures."""


def mark_pictures(
    mark: PixelMark, originals: Sequence[Original], folder: Path, key: MarkKey, *, user: int = 0, run: Run = Run.none()
) -> MarkedPictures:
    """Pictures given back with a mark in their pixels; name, size, EXIF and transparency stay.

    Args:
        mark: with its settings.
        originals: one or more.
        folder: where they are given back, each as soon as it is done.
        key: the secret; whoever has it finds the mark.
        user: whose mark it is, from 0.
        run: progress and records; a killed call goes on after the last picture.

    Raises:
        BadInput: for no pictures, and for one that is too small for the mark; before any is marked.
    """
    if not originals:
        raise BadInput("there are no pictures to mark; name a folder with at least one")
    for one in originals:
        mark.check_shape((3, *one.pixels.shape[:2]), one.name)
    known = _known(run, folder)
    with run.progress(len(originals), mark.name, sum(one.name in known for one in originals)) as progress:
        for one in originals:
            if one.name in known:
                continue
            given = one.tensor
            marked = to_uint8(mark.embed(given, key, user))
            one.save(np.ascontiguousarray(marked[0].permute(1, 2, 0).numpy()), folder)
            back = marked.float() / 255
            ratio = float(psnr(back, given)) if bool((back != given).any()) else None
            reading = mark.read(back)
            read = mark.agreement(reading, mark.meant(key, [user], reading.shape[1:]), key)
            known[one.name] = MarkedPicture(one.name, one.saved_name, **_read(read), psnr=ratio)
            run.record(KIND, one.name, asdict(known[one.name]))
            progress.advance()
    return _result(mark, key, user, folder, [known[one.name] for one in originals])


def draw_marked(
    mark: NoiseMark,
    model: LatentDiffusion,
    prompts: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    key: MarkKey,
    *,
    user: int = 0,
    sampler: str = "ddim",
    steps: int = 30,
    guidance_scale: float = 5.0,
    negative: str = "",
    batch: int = 8,
    run: Run = Run.none(),
) -> MarkedPictures:
    """Pictures drawn from marked noise, written as PNG, each read back from its file.

    Args:
        mark: with its settings.
        model: draws, and reads; it is left as it was found.
        prompts: n texts.
        seeds: n different integers; each is the nonce of its picture where the mark has nonces.
        folder: where they are written.
        key: the secret; whoever has it finds the mark.
        user: whose mark it is, from 0.
        sampler: as `intaglio.sampling.loop.sample` takes it, and the rest of the drawing.
        steps: of the drawing.
        guidance_scale: of the drawing; the higher, the less of the noise is read back.
        negative: negative prompt.
        batch: pictures drawn at once.
        run: progress and records; a killed call goes on after the last batch.

    Raises:
        BadInput: for a model that lacks what the mark needs or whose latents it does not fit, no prompts, and seeds
            that are not different.
    """
    check_needs(mark, model)
    if not prompts or len(prompts) != len(seeds) or len(set(seeds)) != len(seeds):
        raise BadInput("a marked drawing takes one prompt or more, and for each a seed of its own")
    shape = latent_shape_of(model)
    mark.check_shape(shape, model.name)
    names = [f"{place:04d}-{seed}.png" for place, seed in enumerate(seeds)]
    known = _known(run, folder)
    options = {"sampler": sampler, "steps": steps, "guidance_scale": guidance_scale, "negative": negative}
    left = [place for place, name in enumerate(names) if name not in known]
    with run.progress(len(names), mark.name, len(names) - len(left)) as progress:
        for first in range(0, len(left), batch):
            rows = left[first : first + batch]
            texts, numbers = [prompts[k] for k in rows], [seeds[k] for k in rows]
            start = GivenLatents(mark.start(shape, key, user, numbers))
            (pixels,) = sample_batches(model, texts, numbers, start=start, batch=len(rows), **options)
            readings = mark.read(model, to_uint8(pixels).float() / 255)
            for place, pixel, reading in zip(rows, pixels, readings, strict=True):
                about = {"prompt": prompts[place], "seed": seeds[place]}
                save_png(pixel, folder / names[place], {name: str(value) for name, value in about.items()})
                agreed = mark.agreement(reading[None], mark.meant(key, [user], shape), key, seeds[place])
                known[names[place]] = MarkedPicture(names[place], names[place], **_read(agreed), **about)
                run.record(KIND, names[place], asdict(known[names[place]]))
                progress.advance()
    return _result(mark, key, user, folder, [known[name] for name in names])


def _known(run: Run, folder: Path) -> dict[str, MarkedPicture]:
    """The pictures of before that are still there."""
    rows = {name: MarkedPicture(**row) for name, row in run.recorded(KIND).items()}
    return {name: row for name, row in rows.items() if (folder / row.saved).is_file()}


def _read(found: MarkAgreement) -> dict[str, Any]:
    return {"p": float(found.p), "bits": None if found.bits is None else float(found.bits)}


def _result(mark: PictureMark, key: MarkKey, user: int, folder: Path, pictures: list[MarkedPicture]) -> MarkedPictures:
    return MarkedPictures(mark.name, mark.reading, mark.null, key.hash, user, folder, tuple(pictures))
