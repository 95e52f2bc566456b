"""DreamBooth: all weights learn a subject, while class pictures keep what the model knew of its kind."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from intaglio.adapt.bayesian import chosen
from intaglio.adapt.cost import Plan, make_plan
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.grids import draw_samples
from intaglio.adapt.memory_advice import memory_advice
from intaglio.adapt.settings import UNWATCHED, BayesianTraining, Watch
from intaglio.adapt.training import fine_tune
from intaglio.adapt.tuned import FineTuned
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run

LESS = "`finetune lora` in place of dreambooth"


@dataclass(frozen=True, kw_only=True)
class DreamBooth(BayesianTraining):
    """DreamBooth: train all weights of the denoiser on a few pictures of a subject.

    Minimises over the weights, for pictures x with prompt c and class pictures x' with prompt c' (eq. 2 of the paper,
    here in latents, and in whatever the network predicts):

        E |net(noised(x, t), t, c) - target(x, t)|^2 + prior_weight * E |net(noised(x', t'), t', c') - target(x', t')|^2

    Class pictures are the base's own drawings of c', so that the class does not drift towards the subject.
    The paper takes about 1,000 steps, at 1e-5 for Imagen and 5e-6 for Stable Diffusion; at 512 pixels 2e-6 to 5e-6
    are usual. The small embedded testbed wants 1e-4.

    With `bayesian` the weights of self-attention and feed-forward layers are random while they learn (23% of Stable
    Diffusion 1's); a random draw a micro-batch, the means at the end.

    Source: arXiv 2208.12242; of the random weights arXiv 2405.19931.
    """

    steps: int = 1000
    """Updates of the weights."""
    learning_rate: float = 5e-6
    """Of AdamW, at its highest; 2e-6 to 5e-6 for Stable Diffusion, 1e-4 for the embedded testbed."""

    def __call__(
        self, model: LatentDiffusion, data: TrainingSet, *, run: Run = Run.none(), watch: Watch = UNWATCHED
    ) -> FineTuned:
        """Tune a copy of `model`, which itself is left as found."""
        with memory_advice(self, self.step_size(data.class_images is not None), LESS):
            tuned = model.copy()
            weights = self._weights(tuned)
            trained = fine_tune(tuned, weights, data, self, run, watch, self._random(weights))
            samples = draw_samples(tuned, data, self.seed, watch)
        return FineTuned(tuned, None, trained, self, data, model.name, model.fingerprint, samples)

    def plan(self, model: LatentDiffusion, data: TrainingSet) -> Plan:
        """What the call will take, measured on a throw-away copy."""
        with memory_advice(self, self.step_size(data.class_images is not None), LESS):
            probe = model.copy()
            weights = self._weights(probe)
            return make_plan(probe, weights, data, self, self._random(weights))

    def _weights(self, model: LatentDiffusion) -> dict[str, nn.Parameter]:
        return {
            f"{name}.{path}": weight
            for name, part in model.parts.items()
            if name == "denoiser" or (self.text_encoder and name.startswith("text_encoder"))
            for path, weight in part.named_parameters()
        }

    def _random(self, weights: Mapping[str, nn.Parameter]) -> dict[str, float]:
        return dict.fromkeys(chosen(list(weights), self.random_targets), 1.0) if self.bayesian else {}
