"""Scenes of two coloured shapes as drawn by compose and beside it, read by the exact parser."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from intaglio.metrics.statistics.interval import interval
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingMethod
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.compose import Compose
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.scenes.planted import balanced_scene
from intaglio.sampling.scenes.recognition import SceneCheck
from intaglio.sampling.verifiers.scene import SceneVerifier

SCALE, BATCH = 3.0, 16


def bound_scene_figures(model: LatentDiffusion, *, quick: bool, seed: int) -> dict[str, float]:
    """Shares of pictures that show both entities in their colours (`bound`) and all that was asked (`correct`).

    By plain sampling, by `compose`, by `compose_again`, and by the better of two plain pictures (`best_of_two`), which
    the parser itself chooses; with the calls of a picture, a gradient counted as two. `compose_gain` is the share bound
    by compose less that of plain sampling with the same noises, `compose_gain_low` the lower end of its interval.
    """
    count, steps = (8, 5) if quick else (200, 20)
    captions = [balanced_scene(seed, index).caption for index in range(count)]
    found, cost = dict[str, list[SceneCheck]](), dict[str, float]()
    rows = {"plain": Plain(), "compose": Compose(), "compose_again": Compose(again=True)}
    for name, method in rows.items():
        found[name], cost[name] = _drawn(model, captions, range(seed, seed + count), method, steps)
    other, more = _drawn(model, captions, range(seed + count, seed + 2 * count), Plain(), steps)
    pairs = zip(found["plain"], other, strict=True)
    found["best_of_two"] = [max(pair, key=lambda check: check.share) for pair in pairs]
    cost["best_of_two"] = cost["plain"] + more
    bound = {name: np.array([all(check.bound) for check in checks], float) for name, checks in found.items()}
    figures = {f"{name}_bound": float(values.mean()) for name, values in bound.items()}
    figures |= {f"{name}_correct": float(np.mean([c.correct for c in checks])) for name, checks in found.items()}
    gain = bound["compose"] - bound["plain"]
    low, _ = interval(lambda values: np.asarray(values).mean(-1), [gain])
    figures |= {f"{name}_calls": value for name, value in cost.items()}
    return {**figures, "compose_gain": float(gain.mean()), "compose_gain_low": low}


def _drawn(
    model: LatentDiffusion, captions: Sequence[str], seeds: Sequence[int], method: SamplingMethod, steps: int
) -> tuple[list[SceneCheck], float]:
    """Findings of the parser in a picture of each caption, and the calls of a picture."""
    calls = Calls()
    about = {"steps": steps, "guidance_scale": SCALE, "batch": BATCH, "calls": calls}
    pixels = sample(model, captions, seeds, method=method, **about).pixels
    spent = asdict(calls)
    return SceneVerifier().checks(pixels, captions), (spent["forward"] + 2 * spent["backward"]) / len(captions)
