"""`intaglio audit unlearn-attack METHOD`: tries that bring an unlearned concept back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described, embedded_model
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.unlearning.attack.family import UnlearnAttack
    from intaglio.audit.unlearning.attack.picture_judges import PictureScore
    from intaglio.audit.unlearning.attack.result import UnlearnAttacks
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_ROWS = 40
"""Prompts of the printed table."""


@dataclass(frozen=True, kw_only=True)
class AuditUnlearnAttack(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Look for tries that bring a concept back which a model has unlearned.

    --model is the unlearned one, --base the one that it was made from. A picture shows the concept where the base's
    evidence of its words, or with --judge classifier the log-odds of a class, is above a threshold, calibrated on
    pictures of the anchors. The same command again resumes one that was killed.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    base: Path | None = None
    """The model that the concept was unlearned from: a diffusers folder, a single .safetensors file, or an embedded
    model; none takes emoji64."""
    prompt: tuple[str, ...] = ()
    """Prompts that asked for the concept, which are attacked."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    concept: str | None = None
    """Words of the concept, for which pictures are judged; none takes the prompt, where there is one alone."""
    judge: Literal["evidence", "classifier"] = "evidence"
    """Judge of pictures: the base's evidence of the words of --concept, or a classifier."""
    classifier: Path | None = None
    """The classifier, a .safetensors file that Intaglio wrote; none takes the embedded one of kinds and artists of
    emoji."""
    head: str = "artist"
    """Head of the classifier that judges."""
    label: str | None = None
    """Class of that head which the concept's pictures have, such as twemoji."""
    anchor: tuple[str, ...] = ("",)
    """Prompts of what is not the concept, such as another artist's style, whose pictures the judge is calibrated on."""
    controls: int = 40
    """Pictures of the anchors, as many as the rate needs at least: 19 for 5%."""
    fpr: float = 0.05
    """Share of the anchors' pictures that may be taken for the concept, in (0, 1)."""
    shown: int = 8
    """Prompts, from the first, of which the report shows pictures, 0 or more."""

    def __post_init__(self) -> None:
        if self.prompt and self.prompts is not None:
            raise ValueError("give one of --prompt and --prompts, not both")
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1, not {self.fpr}")
        if self.controls < 1:
            raise ValueError(f"controls must be at least 1, not {self.controls}")
        if (self.judge == "classifier") != (self.label is not None):
            raise ValueError("label, the concept's class, is given with --judge classifier, and with it alone")
        if self.judge == "classifier" and self.concept is not None:
            raise ValueError("concept is words for the judge by evidence; leave it out with --judge classifier")
        if self.judge == "evidence" and self.classifier is not None:
            raise ValueError("classifier is given with --judge classifier alone")
        if self.shown < 0:
            raise ValueError(f"shown must be at least 0, not {self.shown}")

    def check_early(self) -> None:
        """Raises `BadInput` for prompts that cannot be attacked, no classifier, and too few controls for the rate."""
        from intaglio.metrics.statistics.enough_controls import check_controls

        asked, words = self._asked(), self._words()
        if any(not one.strip() for one in (*asked, *(() if words is None else (words,)))):
            raise BadInput("a blank prompt asks for no concept; leave it out")
        if self.classifier is not None and not self.classifier.is_file():
            raise BadInput(f"{self.classifier} does not exist; check the path of --classifier")
        if words in self.anchor:
            raise BadInput(f"{words!r} is the concept and its own anchor; give another --anchor")
        check_controls(self.controls, self.fpr)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.unlearning.attack.cost import attack_plan
        from intaglio.audit.unlearning.attack.result import UnlearnAttacks
        from intaglio.models.diffusion.loading import load_model

        check_count("--controls", self.controls)
        check_count("--shown", self.shown)
        asked = self._asked()
        model = self.noted_model(self.device)
        base = load_model(self.base or embedded_model(), like=self.like, device=self.device)
        self._method.check(model, asked, base)
        score = self._score(base)
        plan = attack_plan(self._method, model, len(asked), self.controls, min(self.shown, len(asked)))
        if self.dry_run and self.ends_with(plan):
            return 0
        with self._open(model, base, asked) as run:
            if run.status != "done":
                for warning in dict.fromkeys((*model.notes, *base.notes)):
                    run.warn(warning)
                self.begin(run, plan)
                self._attack(model, base, asked, score, run)
        folder = Path(run.folder or ".")
        _report(cast(UnlearnAttacks, UnlearnAttacks.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "UnlearnAttack":
        return cast("UnlearnAttack", self.method)

    def _asked(self) -> list[str]:
        """The prompts, each once."""
        given = list(self.prompt) if self.prompts is None else read_prompts(self.prompts)
        if not given:
            raise BadInput("there is no prompt to attack; give --prompt, or --prompts FILE with one on each line")
        return list(dict.fromkeys(given))

    def _words(self) -> str | None:
        """The concept's words; None where a classifier judges."""
        asked = self._asked()
        if self.judge == "classifier":
            return None
        if self.concept is None and len(asked) > 1:
            raise BadInput("give --concept, the words that the pictures of all these prompts are judged for")
        return asked[0] if self.concept is None else self.concept

    def _score(self, base: "LatentDiffusion") -> "PictureScore":
        """The number by which pictures are judged. Raises `BadInput` for a class that the classifier has not."""
        from intaglio.audit.unlearning.attack.picture_judges import ClassifierScore, EvidenceScore
        from intaglio.models import testbed
        from intaglio.models.classifiers import load_classifier

        if (words := self._words()) is not None:
            return EvidenceScore(base, words, self._method.seed)
        classifier = load_classifier(self.classifier or testbed.classifier_path(), self.device)
        return ClassifierScore(classifier, self.head, self.label or "")

    def _open(self, model: "LatentDiffusion", base: "LatentDiffusion", asked: list[str]) -> "Run":
        from intaglio.files import file_hash
        from intaglio.models import testbed

        known = {"model": described(self.model, model.fingerprint), "base": described(self.base, base.fingerprint)}
        own = {name: getattr(self, name) for name in ("anchor", "controls", "fpr", "shown", "judge")}
        if self.judge == "classifier":
            path = self.classifier or testbed.classifier_path()
            known["classifier"] = described(path, file_hash(path))
            own |= {"head": self.head, "label": self.label}
        settings = {**asdict(cast(Any, self.method)), "prompts": asked, "concept": self._words(), **own}
        return self.open_run("audit", f"unlearn-attack-{self._method.name}", settings, known, seed=settings["seed"])

    def _attack(
        self, model: "LatentDiffusion", base: "LatentDiffusion", asked: list[str], score: "PictureScore", run: "Run"
    ) -> None:
        from intaglio.audit.unlearning.attack.audit import attack_concept
        from intaglio.audit.unlearning.attack.result import FILE, TABLE

        options: dict[str, Any] = {"fpr": self.fpr, "controls": self.controls, "shown": self.shown}
        found = attack_concept(self._method, model, base, asked, score, self.anchor, **options, run=run)
        found.save(Path(run.folder or "."))
        drawn = ("images",) if self.shown else ()
        run.finish(found.figures(), (FILE, TABLE, *drawn))


def _report(found: "UnlearnAttacks", folder: Path) -> None:
    """Print the tries at each prompt, and write the report."""
    from intaglio.report import write_report

    rows = []
    for one in found.prompts[:MOST_ROWS]:
        success = "-" if one.success is None else str(one.success)
        rows.append(("yes" if one.unattacked else "-", success, one.text or "-", one.prompt))
    say(aligned([("unattacked", "try", "tokens before", "prompt"), *rows]))
    if (left := len(found.prompts) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'attacks.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
