"""Gains in a verifier's score: by a search of the noise, as another verifier sees it, and by SVDD."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.metrics.statistics.interval import interval
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.fitted_sampling import MethodFit
from intaglio.sampling.loop import fit_of, sample
from intaglio.sampling.methods.parm.method import PARM
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.methods.svdd import SVDD
from intaglio.sampling.search.best_noise import BestNoise
from intaglio.sampling.search.random_search import RandomSearch
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of

CANDIDATES = 8
"""Candidates of a picture, and proposals of a step."""
LEADING, JUDGE, REWARD = ("attributes:0", "denoiser"), "attributes:1", "jpeg"
"""Verifiers that lead searches, the one that judges what they find, and the one that leads SVDD."""


@dataclass(frozen=True)
class GainSettings:
    """Pictures over which gains are taken."""

    prompts: Sequence[str]
    seeds: Sequence[int]
    """Of each prompt's pictures."""
    steps: int
    batch: int
    guidance: float = 5.0
    calibration: tuple[str, ...] = ()
    """Prompts that PARM is fitted by; none takes captions of the embedded pictures."""


def verifier_gains(model: LatentDiffusion, settings: GainSettings, run: Run) -> dict[str, Any]:
    """Gains in standard deviations of plain pictures' scores, with 95 % intervals over prompts.

    Each picture is the best of 8 plain candidates by a leading verifier. `search_gain` is what a search by
    `attributes:0` adds to the score of `attributes:1`, over the mean of the candidates: their heads for the artist were
    fitted to different pictures, but the encoder that tells the name is one. `search_gains` has that by each leading
    verifier, of which `denoiser`, the model itself, shares nothing with the judge, and by the judge, which is the most
    there is. `svdd_gain` is what SVDD of 8 proposals that takes the best adds to the score of `jpeg`, `parm_gain` what
    PARM of 8 candidates does, and `best_gain` what the best of the 8 candidates does; `parm_calls` is the share of the
    calls of these that PARM makes, its fit apart.
    """
    rows = run.recorded("gain")
    parm = PARM(verifier=REWARD, candidates=CANDIDATES, calibration=settings.calibration)
    # Read again where all prompts are done: the fit is for those that are left.
    left = len(rows) < len(settings.prompts)
    fit = fit_of(model, parm, steps=settings.steps, guidance_scale=settings.guidance) if left else None
    with run.progress(len(settings.prompts), "prompts", len(rows)) as progress:
        for prompt in settings.prompts:
            if prompt not in rows:
                rows[prompt] = _scores(model, prompt, settings, parm, fit)
                run.record("gain", prompt, rows[prompt])
                progress.advance()
    table = [rows[prompt] for prompt in settings.prompts]
    judged, reward = (np.array([row[name] for row in table]) for name in (JUDGE, REWARD))
    leads = {name: np.array([row[name] for row in table]) for name in (*LEADING, JUDGE)}
    searches = {name: _gain(_chosen(lead, judged), judged) for name, lead in leads.items()}
    svdd, parms = (np.array([row[name] for row in table]) for name in ("svdd", "parm"))
    return {
        "search_gain": searches[LEADING[0]]["mean"],
        "search_gain_low": searches[LEADING[0]]["low"],
        "svdd_gain": _gain(svdd, reward)["mean"],
        "svdd_gain_low": _gain(svdd, reward)["low"],
        "parm_gain": _gain(parms, reward)["mean"],
        "parm_gain_low": _gain(parms, reward)["low"],
        "parm_calls": float(np.mean([row["parm_calls"] for row in table])),
        "best_gain": _gain(_chosen(reward, reward), reward)["mean"],
        "search_gains": searches,
    }


def _scores(
    model: LatentDiffusion, prompt: str, settings: GainSettings, parm: PARM, fit: MethodFit | None
) -> dict[str, Any]:
    """Scores of the candidates of a prompt's pictures by each verifier, [pictures, 8], and of SVDD's and PARM's."""
    found: dict[str, Any] = {name: [] for name in (*LEADING, JUDGE, REWARD)}
    options: dict[str, Any] = {"steps": settings.steps, "guidance_scale": settings.guidance, "batch": settings.batch}
    for seed in settings.seeds:
        lead = _Watched(*(verifier_of(name, model) for name in found))
        search = BestNoise(RandomSearch(), lead, 0)
        search(model, prompt, seed, count=CANDIDATES, sampler="ddim", negative="", method=Plain(), **options)
        for name, scores in lead.seen.items():
            found[name].append(scores)
    prompts, calls = [prompt] * len(settings.seeds), Calls()
    svdd = SVDD(verifier=REWARD, particles=CANDIDATES)
    led = sample(model, prompts, settings.seeds, method=svdd, **options)
    judged = sample(model, prompts, settings.seeds, method=parm, fit=fit, calls=calls, **options)
    reward = verifier_of(REWARD, model)
    whole = CANDIDATES * settings.steps * (1 if settings.guidance == 1 else 2) * len(prompts)
    return {
        **found,
        "svdd": reward(led.pixels, prompts).tolist(),
        "parm": reward(judged.pixels, prompts).tolist(),
        "parm_calls": calls.forward / whole,
    }


class _Watched:
    """The first of several verifiers, and all their scores of what it was shown, by name."""

    name, hash, differentiable, calls = "watched", "", False, 0

    def __init__(self, *verifiers: Verifier):
        self._verifiers = verifiers
        self.seen: dict[str, list[float]] = {one.name: [] for one in verifiers}

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        scores = [one(pixels, prompts) for one in self._verifiers]
        for verifier, found in zip(self._verifiers, scores, strict=True):
            self.seen[verifier.name] += found.tolist()
        return scores[0]


def _chosen(lead: Float[ndarray, "p n k"], judged: Float[ndarray, "p n k"]) -> Float[ndarray, "p n"]:
    """The judged scores of the candidates that the leading scores are highest for."""
    best = np.nan_to_num(lead, nan=-np.inf).argmax(2)
    return np.take_along_axis(judged, best[..., None], 2)[..., 0]


def _gain(found: Float[ndarray, "p n"], plain: Float[ndarray, "p n k"]) -> Mapping[str, float]:
    """Mean over prompts of what was found beyond the mean of plain candidates, in deviations within a prompt."""
    deviation = float(np.sqrt(plain.reshape(len(plain), -1).var(1, ddof=1).mean()))
    gains = (found.mean(1) - plain.mean((1, 2))) / deviation
    low, high = interval(lambda sample: np.asarray(sample).mean(-1), [gains])
    return {"mean": float(gains.mean()), "low": low, "high": high}
