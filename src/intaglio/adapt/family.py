"""Fine-tuning: the contract of a method, which chooses the weights to train; the rest of the work is shared."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from intaglio.adapt.cost import Plan, make_plan
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.fitting_settings import fitting_settings
from intaglio.adapt.grids import draw_base_samples, draw_samples, sample_scale
from intaglio.adapt.guarantee import Guarantee
from intaglio.adapt.memory_advice import memory_advice
from intaglio.adapt.own_steps import OwnSteps
from intaglio.adapt.settings import UNWATCHED, BayesianTraining, Watch
from intaglio.adapt.trainable import Trainable
from intaglio.adapt.training import fine_tune
from intaglio.adapt.training_copy import TrainingCopy, copied_for_training
from intaglio.adapt.tuned import FineTuned
from intaglio.errors import BadInput
from intaglio.learning.sharing_processes import ALONE, Processes
from intaglio.learning.stop_rule import ALL_STEPS, StopRule
from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.packed_base import PackedBase
from intaglio.models.embedded_models import EmbeddedModel
from intaglio.models.lora.lora import LoRA
from intaglio.runs.run import Run
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class FineTuner(BayesianTraining, ABC):
    """A method of fine-tuning on the denoising error: settings, and the weights of a model that it trains.

    A method is a frozen dataclass of settings. The model passed in is left as found. What reports and benches must
    know of a method stands in its class variables.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """How the result came about, as a headline such as "All weights tuned (DreamBooth)"."""
    gives: ClassVar[Literal["model", "adapter"]]
    """The result: full weights, or an adapter beside the base's."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    lighter: ClassVar[tuple[str, ...]] = ()
    """Remedies of its own where memory runs out, as parts of a sentence."""
    embedded_rate: ClassVar[float]
    """The learning rate of an embedded model, which is small, where none is given."""
    private: ClassVar[bool] = False
    """Whether each picture is kept private by noise, which shuts out random weights and class pictures."""
    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Settings of `intaglio bench finetune`: those at which the plain form, on one picture of the embedded sets, falls
    into the corruption stage, and the sigma of the Bayesian form beside it."""

    @abstractmethod
    def trainable(self, model: LatentDiffusion) -> Trainable:
        """The weights that are trained in `model`, the family's own copy; an adapter is not attached yet.

        Raises `BadInput` for a model that does not have them.
        """

    def suited(self, model: LatentDiffusion) -> "FineTuner":
        """These settings, with a learning rate for this model where none is given: an embedded one has its own."""
        if self.learning_rate is not None:
            return self
        own = self.usual_rate if EmbeddedModel.at(model.source) is None else self.embedded_rate
        return replace(self, learning_rate=own)

    def pass_size(self, prior: bool) -> int:
        """Pictures that pass the network at once where no `micro_batch` is given; see `step_size`."""
        return self.step_size(prior)

    def fitted(self, data: TrainingSet) -> "FineTuner":
        """These settings, with what follows from the pictures. Raises `BadInput` for pictures that they do not fit."""
        return self

    def check_course(self, watch: Watch, processes: Processes) -> None:
        """Raises `BadInput` for a watch, or for several processes, that the method does not go with."""

    def own_steps(self, model: LatentDiffusion, trainable: Trainable, data: TrainingSet) -> OwnSteps | None:
        """Steps in place of those that all methods share, on the family's own copy; None takes these."""
        return None

    def guarantee(self, data: TrainingSet) -> Guarantee | None:
        """The privacy of each picture after a call; None where none is promised."""
        return None

    def base_of(self, model: LatentDiffusion) -> LatentDiffusion:
        """The base that is trained on, `model` itself or one made of it. Raises `BadInput` for one that cannot be."""
        if self.gives == "model" and isinstance(model, PackedBase):
            raise BadInput(
                f"{model.name} is packed as {model.kind}, and {self.name} trains all weights, which packed ones cannot "
                "follow; use `finetune lora`, or read the model in its stored precision"
            )
        return model

    def __call__(
        self,
        model: LatentDiffusion,
        data: TrainingSet,
        *,
        run: Run = Run.none(),
        watch: Watch = UNWATCHED,
        stop: StopRule = ALL_STEPS,
        processes: Processes = ALONE,
    ) -> FineTuned:
        """Tune a copy of `model`.

        Args:
            model: the base, which is left as found.
            data: pictures with prompts, and class pictures where there are any.
            run: progress, states, logs and pictures go there; a killed call goes on where its last state was.
            watch: which pictures are drawn and judged meanwhile, and what follows from it.
            stop: may end the training before its last step, such as a budget of energy.
            processes: that share each step and end with the same weights; only the main one is given a run, a watch
                and a stop rule.

        Raises:
            BadInput: a model without what the method needs, or in float16; pictures, a watch or processes that the
                method does not go with.
            IntaglioError: memory runs out, or the loss is not finite.
        """
        if (own := self.suited(model).fitted(data)) != self:
            return own(model, data, run=run, watch=watch, stop=stop, processes=processes)
        check_needs(self, model)
        self.check_course(watch, processes)
        sample_scale(model, watch)
        with self._memory_advice(model, data), self._copied(model) as copied:
            base = copied.base
            trainable = self.trainable(copied.model)
            with copied.aside.away(), trainable.attached(copied.model):
                before = draw_base_samples(copied.model, data, self.seed, watch, run)
                steps = self.own_steps(copied.model, trainable, data)
                trained = fine_tune(copied.model, trainable, data, self, run, watch, stop, processes, steps)
                samples = draw_samples(copied.model, data, self.seed, watch)
            # A packed base takes no merged change.
            tuned = base if isinstance(base, PackedBase) else copied.own()
        if trainable.adapter is not None:
            tuned = _with_adapter(tuned, trainable.adapter)
        return FineTuned(
            tuned,
            trainable.adapter,
            trained,
            self,
            data,
            model.name,
            base.stored_fingerprint if isinstance(base, PackedBase) else base.fingerprint,
            self.name,
            self.reading,
            samples,
            base.kind if isinstance(base, PackedBase) else None,
            before,
            self.guarantee(data),
        )

    def plan(self, model: LatentDiffusion, data: TrainingSet) -> Plan:
        """The cost of a call, measured on a throw-away copy of `model`."""
        check_needs(self, model)
        with self._memory_advice(model, data):
            return self.fitted(data)._planned(model, data)

    def dry_plan(self, model: LatentDiffusion, data: TrainingSet) -> Plan:
        """The plan of a call that may not fit: computed without the memory of a step, and without its time."""
        return self._planned(model, data, dry=True)

    def _planned(self, model: LatentDiffusion, data: TrainingSet, *, dry: bool = False) -> Plan:
        with self._copied(model) as copied:
            trainable = self.trainable(copied.model)
            with copied.aside.away(), trainable.attached(copied.model):
                return make_plan(copied, trainable, data, self, dry=dry)

    def _copied(self, model: LatentDiffusion) -> AbstractContextManager[TrainingCopy]:
        base = self.base_of(model)
        stored = None if base is model else model.denoiser
        return copied_for_training(base, self.gives, text_encoder=self.text_encoder, stored=stored)

    def _memory_advice(self, model: LatentDiffusion, data: TrainingSet) -> AbstractContextManager[None]:
        pictures = self.pass_size(data.class_images is not None)
        return memory_advice(self, pictures, *self.lighter, fitting=lambda: fitting_settings(self, model, data))


def _with_adapter(model: LatentDiffusion, adapter: LoRA) -> LatentDiffusion:
    """The model with the change of an adapter, merged into its weights where they can take it."""
    if isinstance(model, PackedBase):
        return Adapted(model, adapter.detached())
    # Merged, since hooks are no weights, and some audits compare those of the denoiser.
    return adapter.merged_into(model)
