"""Audits of a fine-tune before and after it is made smaller: does it hide what the model was trained on?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from intaglio.bench.kit.methods import default_method
from intaglio.bench.kit.pooling import Audit, margin, mean_auc
from intaglio.bench.kit.suspects import PROMPT, Regime, fine_tuned, joined
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.family import Shrinker
from intaglio.shrink.methods.gptq import GPTQ
from intaglio.shrink.methods.magnitude import MagnitudePruning
from intaglio.shrink.methods.rtn import RoundToNearest

AUDITS = ("loss-gap", "update-alignment", "cgi-dm")
WAYS: Mapping[str, Shrinker] = {
    "rtn 8": RoundToNearest(bits=8),
    "rtn 4": RoundToNearest(bits=4),
    "rtn 3": RoundToNearest(bits=3),
    "gptq 4": GPTQ(bits=4),
    "2 of 4": MagnitudePruning(pattern="2:4"),
}
FULL = "full"
ROWS = 128
"""Calibration rows of a suspect's own walks."""


def audit_figures(
    base: LatentDiffusion,
    regime: Regime,
    sets: Sequence[str],
    *,
    audits: Sequence[str],
    ways: Sequence[str],
    pictures: int | None,
    seed: int,
    run: Run,
) -> dict[str, Any]:
    """AUC of each audit on full and on smaller suspects, the base full, or shrunk in the same way.

    Args:
        base: that the suspects are fine-tuned from, by DreamBooth.
        regime: of the fine-tunes, and of the pictures that members must be told from.
        sets: names of few-shot sets, a suspect each.
        audits: names of membership audits.
        ways: keys of `WAYS`.
        pictures: members, and as many holdouts, that are asked about; None for all.
        seed: of fine-tunes and audits.
        run: keeps the scores of each suspect.
    """
    kind = f"audit-{regime.name}"
    known = run.recorded(kind)
    with run.progress(len(sets), f"audits, {regime.name}", len(known)) as progress:
        for name in sets:
            if name not in known:
                run.record(kind, name, _scores(base, regime, name, audits, ways, pictures, seed))
                progress.advance()
    found = run.recorded(kind)
    figures = {}
    for audit in audits:
        full = _audits(found, sets, audit, FULL)
        figures[audit] = {FULL: vars(mean_auc(full))}
        for way in (key for key in next(iter(found.values()))[audit] if key != FULL):
            small = _audits(found, sets, audit, way)
            figures[audit][way] = {**vars(mean_auc(small)), "change": vars(margin(small, full))}
    return figures


def _scores(
    base: LatentDiffusion,
    regime: Regime,
    name: str,
    audits: Sequence[str],
    ways: Sequence[str],
    pictures: int | None,
    seed: int,
) -> dict[str, dict[str, list[list[float]]]]:
    """Scores of members and of holdouts by each audit, of the full suspect and of each smaller one."""
    suspect = fine_tuned(base, regime, "dreambooth", name, seed)
    members, holdouts = (part[:pictures] for part in regime.questioned(name))
    everyone, count = joined([members, holdouts]), len(members)
    pairs = {FULL: (suspect, base)}
    for way in ways:
        small, small_base = (_shrunk(way, model) for model in (suspect, base))
        pairs |= {way: (small, base), f"{way}, base too": (small, small_base)}
    found = {}
    for audit in audits:
        method = default_method("authenticate", audit, seed=seed)
        found[audit] = {}
        for key, (one, other) in pairs.items():
            scores = method(one, other, everyone, prompt=PROMPT).scores
            found[audit][key] = [scores[:count].tolist(), scores[count:].tolist()]
    return found


def _shrunk(way: str, model: LatentDiffusion) -> LatentDiffusion:
    shrinker = WAYS[way]
    rows = drawn_states(model, [PROMPT], ROWS) if shrinker.calibrated else None
    return shrinker(model, rows).model


def _audits(found: Mapping[str, Any], sets: Sequence[str], audit: str, key: str) -> list[Audit]:
    pairs = [found[name][audit][key] for name in sets]
    return [Audit(np.array(members, float), np.array(holdouts, float)) for members, holdouts in pairs]
