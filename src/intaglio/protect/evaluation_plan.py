"""The time of measuring what is left of a protection: fine-tunes, what they draw, and the cleaning of pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from intaglio.adapt.data import TrainingSet
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of
from intaglio.sampling.plan import picture_calls, planned_seconds

if TYPE_CHECKING:
    from intaglio.protect.imitation import Imitator

DRAWN_AT_ONCE = 8
"""Pictures of the batch whose calls are timed."""


def evaluation_plan(
    imitator: "Imitator",
    originals: ImageSet,
    purifiers: Sequence[Purifier],
    *,
    purifying_model: LatentDiffusion | None = None,
    shares: int = 1,
    seeds: int = 1,
) -> TimePlan:
    """Seconds by what is done; a step, a call and the cleaning of one picture are timed here.

    Args:
        imitator: who imitates.
        originals: clean pictures at the model's resolution.
        purifiers: that both kinds of pictures are cleaned by.
        purifying_model: for purifiers that use one; None takes the imitator's.
        shares: how many shares of protected pictures are tried, 1 or more.
        seeds: fine-tunes of each kind, 1 or more.
    """
    model = imitator.model
    each = seeds * (1 + shares)
    tunes = each * len(purifiers)
    training = imitator.tuner.plan(model, TrainingSet(originals, imitator.prompt))
    drawn = picture_calls(model, imitator.steps, imitator.guidance).times(imitator.drawn)
    one, cleaning = originals.pixels[:1], purifying_model or model
    clean = sum(seconds_of(lambda way=way: way.clean(one, cleaning, 0), model.device) for way in purifiers)
    parts = {
        "fine-tunes": tunes * training.seconds,
        "pictures": tunes * planned_seconds(drawn, model, min(imitator.drawn, DRAWN_AT_ONCE)),
        "cleaning": each * len(originals) * clean,
    }
    return TimePlan(
        parts, f"work       {tunes} fine-tunes of {training.steps} steps, {imitator.drawn} pictures of each"
    )
