"""The time of marked drawings, and of reading marks, before they begin."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.detection import AT_ONCE, BLOCK
from intaglio.protect.fingerprint.family import NoiseMark, PictureMark, PixelMark, WeightMark
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of
from intaglio.sampling.plan import picture_calls, planned_seconds
from intaglio.sampling.start import latent_shape_of

SIDE = 64
"""Pixels along a side of the picture whose comparison is timed, for marks in pixels."""


def drawing_plan(
    mark: NoiseMark, model: LatentDiffusion, pictures: int, rows: int, *, steps: int | None, scale: float | None
) -> TimePlan:
    """Seconds of drawing pictures, and of reading each back, from one call of the denoiser that is timed.

    Args:
        mark: with its settings.
        model: whose calls are timed; it is left as it was found.
        pictures: that are drawn.
        rows: drawn together.
        steps: of the drawing, or None for the model's own.
        scale: of its guidance, or None.
    """
    drawn = picture_calls(model, steps, scale).times(pictures)
    parts = {"pictures": planned_seconds(drawn, model, rows), "readings": _reading_seconds(mark, model, pictures)}
    return TimePlan(parts, f"pictures   {pictures}, each drawn and read back: {drawn + mark.calls().times(pictures)}")


def detection_plan(mark: PictureMark, model: LatentDiffusion | None, pictures: int, users: int, seeds: int) -> TimePlan:
    """Seconds of reading pictures, controls among them, and of holding them against users and seeds.

    Args:
        mark: with its settings.
        model: whose calls are timed, or None for a mark that is read from pixels, in next to no time.
        pictures: that are read.
        users: that are tried.
        seeds: that are tried of each, for marks with nonces.
    """
    if model is None or not isinstance(mark, NoiseMark):
        parts, shape = {}, (3, SIDE, SIDE)
        head, reading = f"pictures   {pictures}, read from their pixels", _pixels_read(mark, shape)
    else:
        parts, shape = {"readings": _reading_seconds(mark, model, pictures)}, latent_shape_of(model)
        head, reading = f"pictures   {pictures}, each read by {mark.calls().times(1)}", torch.zeros(1, *shape)
    key, block, tried = MarkKey.of_seed(0), min(users, BLOCK), seeds if mark.nonces else 1
    meant = mark.meant(key, range(block), reading.shape[1:])
    making = seconds_of(lambda: mark.meant(key, range(block), reading.shape[1:]), "cpu")
    one = seconds_of(lambda: mark.agreement(reading, meant, key, 0), "cpu")
    parts["comparisons"] = users / block * (-(-pictures // AT_ONCE) * making + pictures * tried * one)
    return TimePlan(parts, f"{head}, against {users:,} users" + (f" and {tried:,} seeds" if mark.nonces else ""))


def tuning_plan(mark: WeightMark, model: LatentDiffusion, pictures: int) -> TimePlan:
    """Seconds of tuning a model's decoder, from one update that is timed on a copy.

    Args:
        mark: with its settings.
        model: left as it was found.
        pictures: that are given, of which some are held back to be read.
    """
    shape = latent_shape_of(model)
    head = f"pictures   {pictures}; {mark.updates_made:,} updates of the decoder"
    if not mark.updates_made:
        return TimePlan({}, head)

    def update() -> None:
        latents, single = torch.zeros(1, *shape), mark.one_update()
        with TemporaryDirectory() as folder:
            single.ready(model, latents, Path(folder)).apply(model, latents, MarkKey.of_seed(0), 0)

    return TimePlan({"decoder": seconds_of(update, "cpu") * mark.updates_made}, head)


def _pixels_read(mark: PictureMark, shape: tuple[int, int, int]) -> Tensor:
    if not isinstance(mark, PixelMark | WeightMark):
        raise TypeError(f"{mark.name} reads neither pixels nor noise")
    with torch.no_grad():
        return mark.read(torch.zeros(1, *shape))


def _reading_seconds(mark: NoiseMark, model: LatentDiffusion, pictures: int) -> float:
    return planned_seconds(mark.calls().times(pictures), model, min(pictures, 8))
