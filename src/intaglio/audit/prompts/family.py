"""Audits of prompts: the contract of a method, and the checks made before any work."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch

from intaglio.audit.prompts.result import PromptScores
from intaglio.denoising.model_pair import check_pair
from intaglio.errors import BadInput
from intaglio.models.capabilities import HasTextEncoders, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.verbs import FileName

SPARING = ("micro_batch",)
"""Settings that decide on memory and not on what is recorded."""


class AskedPrompt(NamedTuple):
    """One model's answer to one prompt."""

    value: float
    """Higher means "memorised"."""
    words: tuple[float, ...] = ()
    """Share of each word, in the order of the prompt, with a sum of 1; empty where they were not measured."""


@dataclass(frozen=True)
class PromptAudit(ABC):
    """An audit of prompts: scores each by how likely the model has memorised what it was trained to draw for it.

    A method is a frozen dataclass of settings. A model is left as it was found. Scores are less the base's where one is
    given, so that a prompt that every model answers strongly does not stand out.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """What the score says, as the end of a sentence for people who know no formula."""
    needs: ClassVar[tuple[type, ...]] = (ReadsPrompts, HasTextEncoders, PredictsNoise, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    def __call__(
        self,
        model: LatentDiffusion,
        prompts: Sequence[str],
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> PromptScores:
        """Scores every prompt; each different one is asked once.

        Args:
            model: the model whose memory is asked about.
            prompts: n texts, one or more, none of them blank.
            base: the model it was fine-tuned from, whose scores are subtracted; None for none.
            run: progress and records go there; a killed call goes on after the last prompt that was recorded.

        Raises:
            BadInput: for no prompts, a blank one, a base that is the model itself or cannot be compared with it, and a
                model that lacks what the method needs.
        """
        check_prompts(prompts)
        check_models(self, model, base)
        models = {"model": model} | ({} if base is None else {"base": base})
        found = dict(self._asked(models, prompts, run))
        values = {role: [found[role, prompt].value for prompt in prompts] for role in models}
        signals = {role: torch.tensor(column, dtype=torch.float64) for role, column in values.items()}
        score = signals["model"] if base is None else signals["model"] - signals["base"]
        shares = tuple(found["model", prompt].words for prompt in prompts)
        return PromptScores(self.name, tuple(prompts), score, signals, shares)

    def _asked(
        self, models: dict[str, LatentDiffusion], prompts: Sequence[str], run: Run
    ) -> Iterator[tuple[tuple[str, str], AskedPrompt]]:
        """Each answer by role and prompt, recorded when it is known, in an order that is not that of the prompts."""
        settings = {name: value for name, value in asdict(self).items() if name not in SPARING}
        keys = {role: digest([self.name, settings, model.fingerprint]) for role, model in models.items()}
        work = [(role, prompt) for role in models for prompt in sorted(set(prompts))]
        recorded = run.recorded(self.name)
        known = {one: row for one in work if (row := recorded.get(" ".join(one), {})).get("key") == keys[one[0]]}
        with run.progress(len(work), self.name, len(known)) as progress:
            for role, prompt in work:
                row = known.get((role, prompt))
                if row is None:
                    with models[role].frozen():
                        answer = self.ask(models[role], prompt, words=role == "model")
                    row = {"key": keys[role], "value": answer.value, "words": list(answer.words)}
                    run.record(self.name, f"{role} {prompt}", row)
                    progress.advance()
                yield (role, prompt), AskedPrompt(float(row["value"]), tuple(map(float, row["words"])))

    @abstractmethod
    def ask(self, model: LatentDiffusion, prompt: str, *, words: bool) -> AskedPrompt:
        """One frozen model's answer to one prompt, with the shares of its words where these are asked for."""

    def check(self, model: LatentDiffusion) -> None:  # noqa: B027 - a method without demands of its own checks nothing
        """Raises `BadInput` for a model that this method, with its settings, cannot ask."""

    def calls(self, words: bool) -> Calls:
        """Rows through a denoiser that one prompt takes; none where the method does not say."""
        return Calls()

    @property
    def rows(self) -> int:
        """Rows that go through a network together."""
        return 1

    @property
    def drawing(self) -> dict[str, Any]:
        """Options of `intaglio.sampling.loop.sample` by which the pictures of a prompt are drawn."""
        return {}


def check_prompts(prompts: Sequence[str]) -> None:
    """Raises `BadInput` for no prompts, and for a blank one."""
    if not prompts:
        raise BadInput("there are no prompts to ask about; give --prompt, or --prompts FILE with one on each line")
    if any(not prompt.strip() for prompt in prompts):
        raise BadInput("a blank prompt has no words that a model could have memorised; leave it out")


def check_models(method: PromptAudit, model: LatentDiffusion, base: LatentDiffusion | None) -> None:
    """Raises `BadInput` for models without what the method needs, and for ones that cannot be compared."""
    models = [model, *([] if base is None else [base])]
    check_needs(method, *models)
    if base is not None:
        if model.same_weights(base):
            raise BadInput(
                f"{model.name} and {base.name} have the same weights, so that every score less the base's is 0; give "
                "the model that was fine-tuned, or leave --base out"
            )
        check_pair(model, base)
    for one in models:
        method.check(one)
