"""The time of marked drawings, and of reading marks, before they begin."""

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.family import NoiseMark, PictureMark
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.plan import picture_calls, planned_seconds


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


def detection_plan(mark: PictureMark, model: LatentDiffusion | None, pictures: int) -> TimePlan:
    """Seconds of reading pictures, controls among them; of marks in pixels next to none."""
    if model is None or not isinstance(mark, NoiseMark):
        return TimePlan({}, f"pictures   {pictures}, read from their pixels")
    head = f"pictures   {pictures}, each read by {mark.calls().times(1)}"
    return TimePlan({"readings": _reading_seconds(mark, model, pictures)}, head)


def _reading_seconds(mark: NoiseMark, model: LatentDiffusion, pictures: int) -> float:
    return planned_seconds(mark.calls().times(pictures), model, min(pictures, 8))
