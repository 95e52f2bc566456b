"""Attacks on unlearning: the contract of a method, which looks for tries that bring the concept back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.audit.unlearning.attack.attack_scene import AttackScene, Candidate, Judge, Outcome
from intaglio.audit.unlearning.attack.result import AttackedPrompt, UnlearnAttacks
from intaglio.errors import BadInput, require
from intaglio.models.capabilities import Encodes, HasTextEncoders, HasUNet, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.verbs import FileName

KIND = "attacked"
"""Of the run's records, one a prompt."""


@dataclass(frozen=True, kw_only=True)
class UnlearnAttack(ABC):
    """Settings of an attack on an unlearned model, and the tries that it makes at each prompt.

    A try is a picture that is drawn and judged; attacks compare at equal tries. The models are left as they were found.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The tries, as the end of a sentence for people who know no formula."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, HasTextEncoders, PredictsNoise, HasUNet)
    """What a model must be able to do (`intaglio.models.capabilities`); no other is unlearned here."""
    needs_original: ClassVar[bool] = False
    """Whether it asks the model that knew the concept."""

    tries: int = 50
    """Pictures that are drawn and judged at each prompt, at least 1; fewer where one succeeds."""
    steps: int = 20
    """Steps of DDIM of a picture, at least 1."""
    guidance: float = 5.0
    """Guidance scale of a picture, 0 or more, 1 for none."""
    batch: int = 8
    """Pictures drawn at once, at least 1; the result is the same."""
    seed: int = 0
    """Seed of noise and tokens."""

    def __post_init__(self) -> None:
        for name in ("tries", "steps", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        scale = self.guidance
        require(0 <= scale < float("inf"), f"guidance must be 0 or more, and finite, not {scale}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str], original: LatentDiffusion | None) -> None:
        """Raises `BadInput` for models and prompts that it cannot attack; called before any work."""
        check_needs(self, model, *(() if original is None else (original,)))
        if not prompts or any(not one.strip() for one in prompts):
            raise BadInput("there is no prompt to attack; give --prompt one or more that asked for the concept")
        if self.needs_original and original is None:
            raise BadInput(f"{self.name} needs the model that knew the concept; give it with --base")
        if original is not None and original.differences(model):
            raise BadInput(
                f"{model.name} was not made from {original.name} ({original.differences(model)[0]}); give as "
                "--base the model that it was unlearned from"
            )

    @abstractmethod
    def attack(self, scene: AttackScene, run: Run) -> Outcome:
        """The tries at one prompt, until one succeeds."""

    def planned(self) -> Calls:
        """Calls at one prompt, beside the drawing of its tries."""
        return Calls()

    def __call__(
        self,
        model: LatentDiffusion,
        prompts: Sequence[str],
        judge: Judge,
        *,
        original: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> UnlearnAttacks:
        """The attacks on all prompts; a run that was killed goes on with the prompt that it was at.

        Args:
            model: unlearned.
            prompts: that asked for the concept, one or more.
            judge: from pictures [n, 3, h, w] in [0, 1] to whether each shows the concept, [n].
            original: the model before, for an attack that asks it.
            run: progress, records and states go there.

        Raises:
            BadInput: for models and prompts that cannot be attacked.
        """
        self.check(model, prompts, original)
        known = {key: AttackedPrompt.from_dict(row) for key, row in run.recorded(KIND).items()}
        every = list(dict.fromkeys(prompts))
        with run.progress(len(every), self.name, sum(one in known for one in every)) as progress, model.frozen():
            for prompt in every:
                if prompt not in known:
                    scene = AttackScene(model, original, judge, prompt, self.seed, self.steps, self.guidance)
                    known[prompt] = self._attacked(scene, run)
                    run.record(KIND, prompt, known[prompt].to_dict())
                    progress.advance()
        return UnlearnAttacks(self.name, self.reading, self.tries, tuple(known[prompt] for prompt in every))

    def _attacked(self, scene: AttackScene, run: Run) -> AttackedPrompt:
        (unattacked,) = scene.judged([Candidate((), scene.own_seed)])
        found = self.attack(scene, run)
        ids, seed = ((), scene.own_seed) if found.candidate is None else found.candidate
        text = scene.model.tokenizers[0].decode(list(ids)) if ids else ""
        return AttackedPrompt(scene.prompt, unattacked, found.success, tuple(ids), text, seed)
