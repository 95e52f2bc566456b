"""Judgements of a model in training, by pictures of fixed seeds, and the weights of the step that was best."""

from dataclasses import asdict, replace

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.adapt.corruption import Judgement, best, copies, mean_error, stages
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.grids import sample_scale
from intaglio.adapt.probes import Probes, probe
from intaglio.adapt.settings import BayesianTraining, Watch
from intaglio.denoising.examples import encoded
from intaglio.errors import IntaglioError
from intaglio.learning.trainer import Trainer
from intaglio.metrics.quality import roughness
from intaglio.metrics.similarity.measures import check_descriptors, load_similarity
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample

STREAM, STATE = "watch", "best"
"""Names of the judgements among a run's metrics, and of the best weights among its states."""
SAMPLER = "dpm++2m"


class Judge:
    """Draws and judges pictures when it is due; judgements are stored in the run, so that a killed one goes on.

    Fidelity is the similarity of each picture to the nearest training picture. Quality is a proxy: the roughness
    (`metrics.quality`) of the training pictures, or of the base's own samples of the same seeds, whichever is more,
    over the picture's own: 1 for a picture no rougher than these, 1/2 at twice their power. It does not detect hues
    that are wrong but smooth.
    """

    def __init__(self, model: LatentDiffusion, data: TrainingSet, settings: BayesianTraining, run: Run, watch: Watch):
        self._model, self._data, self._settings, self._run, self._watch = model, data, settings, run, watch
        self._every = watch.interval(data.distinct, settings.steps)
        self._best: dict[str, Tensor] = {}
        self.curve: list[Judgement] = []
        if self._every:
            self._similarity = load_similarity(watch.watch_similarity, model.device)
            prompts = watch.sample_prompt or (data.trigger,)
            self._prompts = [prompts[index % len(prompts)] for index in range(watch.watch_count)]
            self._seeds = [seed_32bit(settings.seed, "watch", index) for index in range(watch.watch_count)]
            check_descriptors(self._similarity, data.images.pixels, data.images.names)
            self._latents = encoded(model, data.images.pixels)

    def restore(self, trainer: Trainer) -> None:
        """Go on from the judgements up to the step that the trainer is at, the base's own being the first."""
        self._run.rewind(STREAM, trainer.step)
        self.curve = self._judgements() if self._every else []
        if not self.curve:
            self.judge(trainer)

    def _judgements(self) -> list[Judgement]:
        try:
            return [Judgement(**row) for row in self._run.logged(STREAM)]
        except TypeError as error:
            raise IntaglioError(
                f"metrics/{STREAM}.jsonl in {self._run.folder} is damaged; delete the run's folder and tune again"
            ) from error

    def judge_when_due(self, trainer: Trainer) -> None:
        """Judge at every interval and at the last step."""
        if self._every and (trainer.step % self._every == 0 or trainer.step == self._settings.steps):
            self.judge(trainer)

    def judge(self, trainer: Trainer) -> None:
        """Judge the weights that would be exported now; a step's best weights are stored before its judgement."""
        if not self._every:
            return
        with trainer.exported():
            pictures = sample(
                self._model,
                self._prompts,
                self._seeds,
                sampler=SAMPLER,
                steps=self._watch.watch_steps,
                guidance_scale=sample_scale(self._model, self._watch),
            ).pixels
            probes = self._probed()
        self.curve.append(replace(self._judged(trainer.step, pictures), **asdict(probes)))
        if self._watch.keep == "best" and best(self.curve) is self.curve[-1]:
            self._remember(trainer)
        self._run.save_image(f"watch/{trainer.step:06d}", torch.cat(list(pictures), dim=-1))
        self._run.log(STREAM, **asdict(self.curve[-1]))
        self._warn()

    @property
    def stopped(self) -> bool:
        """Whether the run shall go no further."""
        return self._watch.on_corruption == "stop" and bool(stages(self.curve))

    @property
    def kept(self) -> int | None:
        """The step whose weights are to be exported; None for the last."""
        found = best(self.curve) if self._watch.keep == "best" else None
        return None if found is None else found.step

    def best_weights(self) -> dict[str, Tensor] | None:
        """The weights of the step that is kept; None for the last."""
        if self.kept is None:
            return None
        stored = self._run.load_state(STATE)
        return self._best if stored is None else stored[0]

    def _remember(self, trainer: Trainer) -> None:
        snapshot = trainer.snapshot()
        if self._run.folder is None:
            self._best = {name: weight.cpu().clone() for name, weight in snapshot.items()}
        else:
            self._run.save_state(STATE, snapshot, {"step": trainer.step})

    @torch.no_grad()
    def _probed(self) -> Probes:
        return probe(self._model, self._latents, self._model.embed([self._data.trigger]), self._settings.seed)

    def _judged(self, step: int, pictures: Float[Tensor, "n 3 h w"]) -> Judgement:
        known = self._data.images.pixels
        likeness = self._similarity.matrix(pictures, known).max(dim=1).values
        rough = roughness(pictures)
        own = float(rough.mean())
        usual = max(float(roughness(known).mean()), self.curve[0].roughness if self.curve else own)
        quality = (usual / rough.clamp_min(1e-12)).clamp(max=1)
        among = self._similarity.matrix(pictures, pictures)
        pairs = len(pictures) * (len(pictures) - 1)
        return Judgement(
            step=step,
            fidelity=float(likeness.mean()),
            fidelity_error=mean_error(likeness.tolist()),
            quality=float(quality.mean()),
            quality_error=mean_error(quality.tolist()),
            diversity=1 - float(among.sum() - among.trace()) / pairs,
            roughness=own,
        )

    def _warn(self) -> None:
        if found := stages(self.curve):
            remedy = (
                "a larger sigma, or random norms in place of layers, may help; more steps do not"
                if self._settings.bayesian
                else "stop here, keep the best step, or start again with bayesian"
            )
            self._run.warn(
                f"corruption stage since step {found[0].first}: the pictures lose their likeness to the training "
                f"pictures while noise rises; {remedy}"
            )
        if copies(self.curve):
            self._run.warn(
                "over-fitted: the pictures are near copies of the training pictures and of each other; take fewer "
                "steps, and audit the result before it is published"
            )
