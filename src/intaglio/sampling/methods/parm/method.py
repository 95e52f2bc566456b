"""PARM on diffusion: best-of-N whose candidates are judged by their clean estimates, and dropped without potential."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.plain_json import digest
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.fitted_sampling import Batches, FittedSampling
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.methods.parm.candidate_walks import Alive, CandidateWalks, Scores
from intaglio.sampling.methods.parm.potential import Potential
from intaglio.sampling.methods.parm.score_log import ScoreLog
from intaglio.sampling.sampling_batch import SamplingBatch
from intaglio.sampling.search.noise_search import noise_source
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of

CAPTIONS = 25
"""Captions of the embedded pictures that are logged where no prompts are given."""
FEWEST = 2
"""Logged pictures of a prompt, at least."""


@dataclass(frozen=True, kw_only=True)
class PARM(FittedSampling):
    """PARM: the best of N candidates, of which those without potential are dropped on the way.

    All candidates of a picture are drawn by the sampler, from independent noises. At some steps a verifier scores their
    decoded clean estimates. The potential of a candidate is the probability that its picture will pass, by a logistic
    regression on its score at that step,

        P(final score is among the highest share q | score now) = 1 / (1 + exp(-a - b score)),

    and one whose potential is below a threshold is dropped: the network is not asked for it again. Of candidates that
    would all be dropped, the one of the highest potential goes on. Those that are left at the end are judged once more,
    and the best is the picture. Without a threshold nothing is dropped, and it is `--search random`.

    The regressions, one a step that is judged, are fitted on logged pictures of other prompts: scores on the way, and
    at the end. Scores are taken less their mean over the pictures of one prompt, so that a prompt whose pictures all
    score high does not pass for a good candidate (`--no-relative` compares them as they are). The log depends on the
    model, the sampling and the verifier alone; it is kept beside the pictures as `parm-*.safetensors`, and read again.
    Where a score on the way tells little of the end, as at much noise, all potentials are near q, and nothing is
    dropped. What is saved are calls of the denoiser; decodings and judgements are added, and so are the calls of a
    verifier that asks the denoiser itself.

    Source: arXiv 2501.13926, where a language model judges the steps of a model of image tokens; candidates of a
    diffusion model and the regression in its place are this version's.
    """

    candidates: int = 20
    """Candidates N of a picture, 1 to 4096."""
    verifier: str = "jpeg"
    """What scores pictures: jpeg, colour:NAME, ink, like:FOLDER, denoiser, attributes, attributes:0, attributes:1 or
    scene."""
    drop_below: float = 0.15
    """Potential in [0, 1] below which a candidate is dropped; 0 drops none."""
    passing: float = 0.1
    """Share q of pictures that pass, above 0 and below 1: those of the highest final scores."""
    relative: bool = True
    """Take scores less their mean over the pictures of a prompt."""
    judge_below: float = 2.0
    """Noise over signal, above 0, below which candidates are judged; at more noise clean estimates are blurs."""
    judgements: int = 4
    """Steps at which candidates are judged before the end, 1 or more, spread evenly over those below."""
    calibration: tuple[str, ...] = ()
    """Prompts of the logged pictures, one or more beside that of each picture; none takes 25 captions of the embedded
    pictures, for the embedded model alone."""
    logged: int = 200
    """Pictures that are logged, equally many of each prompt, 2 or more."""

    draws_noise = True
    plan_is_exact = False
    bench: ClassVar[Sequence[Mapping[str, Any]]] = tuple(
        {"candidates": 16, "drop_below": below} for below in (0.05, 0.15, 0.3)
    )

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= 4096:
            raise ValueError(f"candidates must be 1 to 4096, not {self.candidates}")
        if not 0 <= self.drop_below <= 1:
            raise ValueError(f"drop_below must be in [0, 1], not {self.drop_below}")
        if not 0 < self.passing < 1:
            raise ValueError(f"passing must be above 0 and below 1, not {self.passing}")
        if not 0 < self.judge_below < float("inf"):
            raise ValueError(f"judge_below must be above 0, and finite, not {self.judge_below}")
        if not 1 <= self.judgements <= 1000:
            raise ValueError(f"judgements must be 1 to 1000, not {self.judgements}")
        if not FEWEST <= self.logged <= 10**6:
            raise ValueError(f"logged must be {FEWEST} to a million, not {self.logged}")
        if len(set(self.calibration)) < len(self.calibration):
            raise ValueError("calibration has a prompt twice; give each once")

    def judge(self, model: LatentDiffusion, prompts: Sequence[str] = ()) -> Verifier:
        """The verifier. Raises `BadInput` for one that there is not, and for prompts that it cannot judge."""
        return verifier_of(self.verifier, model, prompts)

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` for a verifier that there is not, where nothing would be judged, and without prompts."""
        super().check(request)
        self.judge(request.model, request.prompts)
        if not self._drops:
            return
        if not self._judged(request.grid):
            raise BadInput(
                f"parm would judge nothing: of {request.steps} steps none but the last begins below noise over signal "
                f"{self.judge_below:g}; take more --steps, or a higher --judge-below"
            )
        known = self._logged_prompts(request.model)
        self.judge(request.model, known)
        if alone := [prompt for prompt in request.prompts if set(known) <= {prompt}]:
            raise BadInput(
                f"parm is fitted on prompts other than those it draws, and --calibration has none but {alone[0]!r}; "
                "give others"
            )

    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """The clean latents of the best candidate of each picture."""
        context, judged = batch.context, self._judged(batch.grid) if self._drops else []
        before = replace(context.calls)
        sources = [[noise_source(seed, k) for k in range(self.candidates)] for seed in batch.seeds]
        walks = CandidateWalks(batch, sources, self.judge(context.model))
        clean = walks.clean(judged, _Dropping(self, batch, judged) if judged else _none_dropped)
        scores = walks.scores(clean.flatten(0, 1))
        best = scores.nan_to_num(-torch.inf, -torch.inf, -torch.inf).masked_fill(~walks.alive, -torch.inf)
        # Where no candidate has a score, the first that is alive.
        picked = torch.where((best > -torch.inf).any(1), best.argmax(1), walks.alive.double().argmax(1))
        whole = self._best_of_all(walks.predictions, context.scale, self.judge(context.model)).times(len(batch.seeds))
        batch.told(_Trace(len(batch.seeds), int((~walks.alive).sum()), _since(before, context.calls), whole))
        lost = ~walks.alive.any(1).view(-1, 1, 1, 1)
        return clean[torch.arange(len(clean)), picked].masked_fill(lost, torch.nan).float().to(context.model.device)

    def planned(self, request: SamplingRequest) -> Calls:
        """The calls where no candidate is dropped, which is the most there are."""
        verifier = self.judge(request.model)
        judged = self.candidates * len(self._judged(request.grid)) if self._drops else 0
        on_the_way = Calls(forward=verifier.calls, decodes=1, verifications=1).times(judged)
        return self._best_of_all(request.nodes, request.scale, verifier) + on_the_way

    def reading_of(self, traces: Sequence["_Trace"]) -> str:
        """Candidates that were dropped, and calls that were saved by it."""
        if self.candidates == 1:
            return ""
        pictures, dropped = sum(one.pictures for one in traces), sum(one.dropped for one in traces)
        made, whole = (sum((getattr(one, name) for one in traces), Calls()) for name in ("made", "whole"))
        share = made.forward / whole.forward - 1
        return (
            f"of {self.candidates} candidates a picture {dropped / pictures:.1f} were dropped on the way: "
            f"{made.forward:,} calls of the denoiser and {made.verifications:,} judged pictures in place of "
            f"{whole.forward:,} and {whole.verifications:,}, {abs(share):.0%} {'more' if share > 0 else 'fewer'} calls"
        )

    # The fit

    def fit_hash(self, request: SamplingRequest) -> str | None:
        """Changes with the model, the sampling, the verifier, and what is logged; None where nothing is dropped."""
        if not self._drops:
            return None
        model = request.model
        about = {"score log": 1, "model": model.fingerprint, "dtype": str(model.dtype), "first": request.first}
        about |= {"sampler": request.sampler, "steps": request.steps, "start": request.start, "scale": request.scale}
        about |= {"negative": request.negative, "verifier": self.judge(model).hash, "logged": self.logged}
        levels = [level.t for level in self._judged(request.grid)]
        return digest({**about, "prompts": self._logged_prompts(model), "levels": levels})

    def planned_fit(self, request: SamplingRequest) -> Calls:
        """Walks of the logged pictures to their end, all of them judged."""
        if not self._drops:
            return Calls()
        prompts = self._logged_prompts(request.model)
        pictures = len(prompts) * self._of_each(prompts)
        verifier, judged = self.judge(request.model), len(self._judged(request.grid)) + 1
        walk = Calls(forward=request.nodes * (1 if request.scale == 1 else 2))
        return (walk + Calls(forward=verifier.calls, decodes=1, verifications=1).times(judged)).times(pictures)

    def fit(self, request: SamplingRequest, batches: Batches) -> ScoreLog:
        """The log of pictures of the calibration's prompts, a batch each."""
        prompts, levels = self._logged_prompts(request.model), self._judged(request.grid)
        scores, finals = list[Tensor](), list[Tensor]()
        for prompt in prompts:
            batch, on_the_way = replace(batches([prompt], [0]), spare_failed=True), list[Scores]()
            sources = [generator(0, "logged", prompt, k) for k in range(self._of_each(prompts))]
            walks = CandidateWalks(batch, [sources], self.judge(request.model))

            def log(level: NoiseLevel, found: Scores, alive: Alive, told: list[Scores] = on_the_way) -> Alive:
                told.append(found)
                return alive

            clean = walks.clean(levels, log)
            finals.append(walks.scores(clean.flatten(0, 1)))
            scores.append(torch.stack(on_the_way, 2))
        return ScoreLog(prompts, torch.cat(scores), torch.cat(finals), self.fit_hash(request) or "")

    def read_fit(self, path: Path, request: SamplingRequest) -> ScoreLog:
        """The log in a file. Raises `BadInput` for that of other scores."""
        return ScoreLog.read(path, self.fit_hash(request) or "")

    @property
    def _drops(self) -> bool:
        return self.candidates > 1 and self.drop_below > 0

    def _judged(self, grid: Sequence[NoiseLevel]) -> list[NoiseLevel]:
        """The levels at which candidates are judged; at the last before the clean end no call is left to save."""
        below = [level for level in grid[:-2] if level.ratio < self.judge_below]
        count = min(self.judgements, len(below))
        return [below[k * len(below) // count] for k in range(count)]

    def _logged_prompts(self, model: LatentDiffusion) -> tuple[str, ...]:
        prompts = self.calibration
        if not prompts:
            if model.source != testbed.base_path():
                raise BadInput(
                    f"parm is fitted on other prompts than those it draws, and knows none for {model.name}; "
                    "give some by --calibration"
                )
            captions = [str(caption) for caption in testbed.real_pictures().captions or ()]
            prompts = tuple(captions[(2 * k + 1) * len(captions) // (2 * CAPTIONS)] for k in range(CAPTIONS))
        if self._of_each(prompts) < FEWEST:
            raise BadInput(
                f"{self.logged} logged pictures are less than {FEWEST} of each of {len(prompts)} prompts; raise "
                "--logged, or give fewer prompts by --calibration"
            )
        return prompts

    def _of_each(self, prompts: Sequence[str]) -> int:
        return self.logged // len(prompts)

    def _best_of_all(self, predictions: int, scale: float, verifier: Verifier) -> Calls:
        """Calls for a picture where all candidates are drawn and judged at the end."""
        walks = Calls(forward=predictions * (1 if scale == 1 else 2)).times(self.candidates)
        if self.candidates == 1:
            return walks
        return walks + Calls(forward=verifier.calls, decodes=1, verifications=1).times(self.candidates)


class _Dropping:
    """Decisions on the candidates of a batch, by the potential of each picture's prompt."""

    def __init__(self, method: PARM, batch: SamplingBatch, judged: Sequence[NoiseLevel]):
        if not isinstance(log := batch.fit, ScoreLog):
            raise TypeError("parm draws by a log of scores; give the one of `intaglio.sampling.loop.fit_of`")
        self._method, self._judged, prompts = method, list(judged), batch.context.prompts
        known = {
            prompt: log.potential(prompt, method.passing, relative=method.relative) for prompt in dict.fromkeys(prompts)
        }
        self._potentials: list[Potential] = [known[prompt] for prompt in prompts]
        self._means = torch.zeros(len(prompts), 1, dtype=torch.float64)

    def __call__(self, level: NoiseLevel, scores: Scores, alive: Alive) -> Alive:
        """Those that go on; a picture of which no candidate has a score keeps all."""
        place = self._judged.index(level)
        if place == 0 and self._method.relative:
            self._means = scores.nanmean(1, keepdim=True)
        found = torch.stack([one(place, row) for one, row in zip(self._potentials, scores - self._means, strict=True)])
        potential = found.nan_to_num(-1.0).masked_fill(~alive, -2.0)
        stay = potential >= self._method.drop_below
        least_certain_no = torch.nn.functional.one_hot(potential.argmax(1), potential.shape[1]).bool()
        return torch.where(stay.any(1, keepdim=True), stay, least_certain_no) | ~found.isfinite().any(1, keepdim=True)


def _none_dropped(level: NoiseLevel, scores: Scores, alive: Alive) -> Alive:
    return alive


@dataclass(frozen=True)
class _Trace:
    """Record of a batch."""

    pictures: int
    dropped: int
    """Candidates that were dropped, those that failed included."""
    made: Calls
    whole: Calls
    """Calls where no candidate is dropped, and none judged before the end."""


def _since(before: Calls, now: Calls) -> Calls:
    return now + before.times(-1)
