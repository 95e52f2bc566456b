"""The time of a sharpening, before it begins."""

import copy

from intaglio.explain.sharpening.family import EncoderSharpener
from intaglio.explain.sharpening.flow_lessons import FlowLessons, Latents, all_seen, seen
from intaglio.explain.sharpening.sharpening_stages import learning_weights
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import Encoder
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def sharpening_plan(method: EncoderSharpener, encoder: Encoder, images: ImageSet, latents: Latents) -> TimePlan:
    """Seconds of the trainings and of the checks, by an update of each kind and a pass that are timed.

    `latents` are those of the first pictures, as many as an update has or all.
    """
    _, held = method.parts(images)
    device = encoder.head.weight.device
    some = images.pixels[: len(latents)].to(device)
    lessons = FlowLessons.of(
        encoder, some, latents.to(device), rows=method.rows, time_scale=method.time_scale, seed=method.seed
    )
    own, drawing = copy.deepcopy(encoder).eval(), method.new_generator(encoder, latents).to(device)
    for weight in learning_weights(own).values():
        weight.requires_grad_(True)
    places = lessons.places(0, "plan")
    kept = all_seen(own, lessons.pixels, method.local)

    def cached() -> None:
        lessons.loss(drawing, kept.of(places), places, 0, "plan").backward()

    def whole() -> None:
        given = seen(own, lessons.pixels[places], method.local)
        lessons.loss(drawing, given, places, 0, "plan").backward()

    one = seconds_of(lambda: all_seen(own, lessons.pixels, method.local), device) / len(some)
    parts = {
        "trainings": method.seconds(seconds_of(cached, device), seconds_of(whole, device)),
        "checks": 2 * one * (len(images) + method.copies * len(held)),
    }
    shape = " x ".join(map(str, latents.shape[1:]))
    return TimePlan(parts, f"pictures   {len(images):,}, {len(held)} held out; latents of {shape}")
