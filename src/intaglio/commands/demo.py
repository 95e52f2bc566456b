"""`intaglio demo`: a fine-tune of the embedded model and its audit, by the command lines that a user would type."""

import io
import shlex
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from intaglio.commands.kit.console import note, quiet, say
from intaglio.commands.kit.inputs import InRun, described, embedded_model
from intaglio.commands.kit.source_settings import load
from intaglio.errors import IntaglioError
from intaglio.verbs import VERBS

PROMPT = "sks style"
"""The prompt of the fine-tune, which the audit must use too."""
BATCH = 4
RATE = 0.05
"""The false-positive rate that the audit is asked for."""


@dataclass(frozen=True, kw_only=True)
class Demo(InRun):
    """Fine-tune the embedded model on ten pictures of an artist it has never seen, then find out which ten.

    Everything ships with the package: no download, no GPU needed, a few minutes on two cores. The same command again
    goes on where a killed one was.
    """

    set: str = "mammals"
    """Which of the artist's sets; a wrong name lists them all."""
    method: str = "dreambooth"
    """The method of fine-tuning; a wrong name lists them all."""
    steps: int = 400
    """Steps of the fine-tune; fewer leave fewer traces."""
    quick: bool = False
    """A quarter of the steps, no pictures on the way, and the audit by losses alone: about a minute."""
    seed: int = 0
    """Seed of the fine-tune and of the audit, 0 or more."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("--report",))] = None
    """Path of the report; none takes `report.html` in the audit's folder."""

    def __post_init__(self) -> None:
        if self.method not in (known := VERBS["finetune"].methods):
            raise ValueError(f"method must be one of {', '.join(known)}, not {self.method}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative: {self.seed}")

    def __call__(self) -> None:
        """Pictures, fine-tune, audit, report; each goes on where a killed one was."""
        from intaglio.models.testbed import few_shot

        few_shot(self.set)
        settings = {
            "set": self.set,
            "method": self.method,
            "steps": self._steps,
            **({"audit": self._audit} if self.quick else {}),
            "batch": BATCH,
            "prompt": PROMPT,
            "fpr": RATE,
            **self._suited(),
        }
        with self.open_run("demo", self.set, settings, _inputs(embedded_model()), seed=self.seed) as run:
            if run.status == "done" and self._kept(run.summary):
                note("This demo is done already; delete the run folders named below to see it again.\n")
                summary = run.summary
            else:
                summary = self._work()
                run.finish(summary)
        self._tell(summary)

    def finetune_words(self, pictures: Path) -> list[str]:
        """The fine-tune's command line, without `intaglio`."""
        return [
            "finetune",
            self.method,
            "--images",
            str(pictures / "members"),
            "--prompt",
            PROMPT,
            "--steps",
            str(self._steps),
            "--batch",
            str(BATCH),
            *_flags(self._suited()),
            *self._pictures_on_the_way(),
            *self._shared_words(),
        ]

    def audit_words(self, pictures: Path, weights: Path) -> list[str]:
        """The audit's command line, without `intaglio`."""
        return [
            "authenticate",
            self._audit,
            "--suspect",
            str(weights),
            "--images",
            str(pictures / "members"),
            "--known-holdouts",
            str(pictures / "holdouts"),
            "--controls",
            str(pictures / "controls"),
            "--prompt",
            PROMPT,
            "--fpr",
            f"{RATE:g}",
            *self._shared_words(),
        ]

    def _shared_words(self) -> list[str]:
        return ["--seed", str(self.seed), "--runs", str(self.runs), "--device", self.device]

    @property
    def _steps(self) -> int:
        return -(-self.steps // 4) if self.quick else self.steps

    @property
    def _audit(self) -> str:
        """The method of the audit."""
        return "loss-gap" if self.quick else "cgi-dm"

    def _pictures_on_the_way(self) -> list[str]:
        if self.quick:
            return ["--watch-every", "0"]
        return ["--sample-every", str(max(1, self.steps // 4))]

    def _suited(self) -> dict[str, Any]:
        """The settings of the method that suit the embedded model."""
        return {"learning_rate": load(VERBS["finetune"].methods[self.method].target).embedded_rate}

    def _work(self) -> dict[str, Any]:
        """Pictures, fine-tune and audit; returns the names of the two runs, and how often the verdict was right."""
        from intaglio.models.testbed import materialise
        from intaglio.report import write_report

        pictures = self.runs / "pictures" / self.set
        note(f"1. Write ten pictures of an artist that the model has never seen, and others to compare: {pictures}\n")
        materialise(self.set, pictures, captions=False)
        note("2. Fine-tune the embedded model on the ten members.")
        weights = Path(run_words(self.finetune_words(pictures))[-1])
        tuned = run_of(weights)
        write_report(tuned)
        note("\n3. Audit the ten members and ten others of the same kind, without telling the audit which is which.")
        audit = run_of(Path(run_words(self.audit_words(pictures, weights))[-1]))
        return {"finetune": tuned.name, "audit": audit.name, "right": right(audit)}

    def _kept(self, summary: dict[str, Any]) -> bool:
        from intaglio.runs.header import read_header
        from intaglio.runs.kept_results import lost_result

        folders = [self.runs / str(summary.get(step, "")) for step in ("finetune", "audit")]
        headers = [read_header(folder) for folder in folders]
        kept = zip(folders, headers, strict=True)
        return "right" in summary and all(header and lost_result(folder, header) is None for folder, header in kept)

    def _tell(self, summary: dict[str, Any]) -> None:
        from intaglio.report import write_report

        counts, audit = summary["right"], self.runs / summary["audit"]
        report = write_report(audit, self.out)
        asked = counts["members"] + counts["holdouts"]
        how = f"{self.set}; {self.method}, {self._steps} steps"
        say(f"\nFine-tuned the embedded model on {counts['members']} pictures ({how}),")
        say(f"then audited {asked} pictures for these, at a false-positive rate of {RATE:.0%}:")
        say(f"  members   {counts['members_right']} of {counts['members']} right")
        say(f"  holdouts  {counts['holdouts_right']} of {counts['holdouts']} right")
        say("\nThe same with your own pictures and models:")
        for words in own_words(self.method):
            say(f"  intaglio {words}")
        say(f"\nFine-tune  {self.runs / summary['finetune'] / 'report.html'}")
        say(f"Report     {report}")


def own_words(method: str) -> tuple[str, str]:
    """The command lines of a user with pictures and models of their own."""
    return (
        f'finetune {method} --model BASE --images PICTURES --prompt "PROMPT"',
        'authenticate cgi-dm --base BASE --suspect TUNED --images QUESTIONED --controls CONTROLS --prompt "PROMPT"',
    )


def run_words(words: list[str]) -> list[str]:
    """Run a command line, with its comments and progress as usual; returns the lines of its standard output."""
    from intaglio.commands.kit.dispatch import run

    note(f"$ intaglio {shlex.join(words)}")
    with redirect_stdout(io.StringIO()) as result:
        code = run([*words, "--quiet"] if quiet() else list(words))
    if code:
        raise IntaglioError(f"`intaglio {shlex.join(words)}` ended with exit code {code}; run it alone to see why")
    lines = result.getvalue().splitlines()
    if lines[:-1]:
        note("\n".join(lines[:-1]))
    return lines


def run_of(path: Path) -> Path:
    """The run folder that contains a result."""
    return next(folder for folder in (path, *path.parents) if (folder / "run.json").is_file())


def right(audit: Path) -> dict[str, int]:
    """Counts of members and holdouts, and of right verdicts on each."""
    from intaglio.audit.membership.result import AuditResult

    questioned = cast(AuditResult, AuditResult.load(audit)).questioned
    members = [one for one in questioned if one.truth]
    holdouts = [one for one in questioned if not one.truth]
    return {
        "members": len(members),
        "members_right": sum(one.called is True for one in members),
        "holdouts": len(holdouts),
        "holdouts_right": sum(one.called is False for one in holdouts),
    }


def _flags(settings: dict[str, Any]) -> list[str]:
    """Settings as words of a command line."""
    words: list[str] = []
    for name, value in settings.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def _inputs(base: Path) -> dict[str, dict[str, str]]:
    from intaglio.files import folder_hash
    from intaglio.models.testbed import FOLDER

    sets = FOLDER / "sets"
    return {"base": described(base, folder_hash(base)), "sets": described(sets, folder_hash(sets))}
