"""Artists that pictures of the empty prompt are led to by PPAP, judged by other judges than taught its experts."""

from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.bench.sample.trained_rows import TrainedParts
from intaglio.metrics.distributions import kernel_distance, stretched
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.ppap import Ppap
from intaglio.sampling.verifiers.attributes import STYLE, embedded_attributes

TAUGHT, JUDGE = 0, 1
"""Halves of the real pictures that the experts' judges and the final judge were fitted to."""
EXPERTS = 5
TRAINING = {"pictures": 600, "scale": 1.0, "updates": 2000}
"""Settings of the experts' training, where they are not the defaults."""
STEPS, BATCH = 20, 16


def led_class_figures(parts: TrainedParts, *, quick: bool, seed: int) -> dict[str, Any]:
    """Share of the pictures that are of the artist they are led to, and their KID: by PPAP, and beside it.

    `ppap` is by five experts, `ppap_one` by one for all timesteps, `unled` without guidance to a class, all of the
    empty prompt with the same noises; the artist is told by a judge that shares no picture with those that taught.
    """
    encoder = embedded_encoder(parts.device)
    judge = embedded_attributes(encoder, JUDGE)
    real = stretched(encoder.embed(parts.pictures.pixels).numpy())
    name, count = judge.names[0], 2 if quick else 48
    classes = {artist: f"attributes:{TAUGHT}={name}{STYLE}{artist}" for artist in judge.artists}
    several = parts.part("ppap", classes=tuple(classes.values()), experts=EXPERTS, **TRAINING)
    one = parts.part("ppap", classes=tuple(classes.values()), experts=1, **TRAINING)
    figures = {}
    for row, part, strength in (("ppap", several, None), ("ppap_one", one, None), ("unled", several, 0.0)):
        drawn = [
            _led(parts, _method(part, target, strength), seed + place * count, count)
            for place, target in enumerate(classes.values())
        ]
        right = [judge.log_probabilities(pixels)[0].argmax(1) == place for place, pixels in enumerate(drawn)]
        found = np.concatenate([stretched(encoder.embed(pixels).numpy()) for pixels in drawn])
        figures |= {f"{row}_accuracy": float(np.mean(right)), f"{row}_kid": kernel_distance(found, real)}
    return figures


def _method(part: Path, target: str, strength: float | None) -> Ppap:
    return Ppap(part=part, target=target, **({} if strength is None else {"strength": strength}))


def _led(parts: TrainedParts, method: Ppap, first: int, count: int) -> Any:
    """Pixels of `count` pictures of the empty prompt, from the seed `first` on."""
    seeds = range(first, first + count)
    found = sample(parts.model, [""] * count, seeds, steps=STEPS, guidance_scale=1.0, method=method, batch=BATCH)
    return found.pixels
