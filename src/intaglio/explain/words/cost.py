"""The time of maps of words, before they begin."""

from intaglio.explain.words.family import WordMapper
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import picture_calls, planned_seconds


def words_plan(method: WordMapper, model: LatentDiffusion, words: int, pictures: int) -> TimePlan:
    """Seconds of all pictures, by one call of the denoiser and one decoding that are timed."""
    drawn = picture_calls(model, method.steps, method.guidance)
    rows = {
        "pictures": drawn.forward,
        "maps": method.steps * method.step_rows(words),
        "tests": method.tested * (1 + words),
    }
    parts = {
        name: planned_seconds(Calls(forward=pictures * count), model, min(method.batch, pictures))
        for name, count in rows.items()
    }
    head = f"pictures   {pictures}, {words} words: {pictures * sum(rows.values()):,} calls of the denoiser"
    return TimePlan(parts, head)
