"""`intaglio demo`: the whole way once, from pictures to a report, by the very commands a user would type."""

import io
import json
import shlex
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from intaglio.commands.kit.console import command_line, note, quiet, say
from intaglio.errors import IntaglioError

PROMPT = "sks style"
"""The words that the fine-tune ties to the artist; the audit must use the same."""
BATCH = 4
LEARNING_RATE = {"dreambooth": 1e-4, "lora": 1e-3}
RATE = 0.05
"""The false-positive rate asked of the audit."""


@dataclass(frozen=True)
class Demo:
    """Fine-tune the embedded model on ten pictures of an artist it has never seen, then find out which ten.

    Everything ships with the package: no download, no GPU, a few minutes on two cores. The same command again goes on
    where a killed one was.
    """

    set: str = "mammals"
    """Which of the artist's sets; a wrong name lists them all."""
    method: Literal["dreambooth", "lora"] = "dreambooth"
    """How the model is fine-tuned."""
    steps: int = 400
    """Steps of the fine-tune; fewer leave fewer traces."""
    seed: int = 0
    """Of the fine-tune and of the audit."""
    runs: Path = Path("runs")
    """Folder that everything is written into."""
    report: Path | None = None
    """Where the report goes; `report.html` in the audit's folder where not given."""

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative: {self.seed}")

    def __call__(self) -> None:
        """Pictures, fine-tune, audit, report; every step finds what an earlier, killed one left."""
        from intaglio.models.testbed import base_path, few_shot
        from intaglio.runs.run import Run

        few_shot(self.set)
        settings = {
            "set": self.set,
            "method": self.method,
            "steps": self.steps,
            "batch": BATCH,
            "prompt": PROMPT,
            "learning_rate": LEARNING_RATE[self.method],
            "fpr": RATE,
        }
        with Run.open(
            self.runs,
            "demo",
            self.set,
            settings,
            _inputs(base_path()),
            seed=self.seed,
            device="cpu",
            command=command_line(),
            progress="none" if quiet() else "auto",
        ) as run:
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
            str(self.steps),
            "--batch",
            str(BATCH),
            "--learning-rate",
            f"{LEARNING_RATE[self.method]:g}",
            "--sample-every",
            str(max(1, self.steps // 4)),
            "--seed",
            str(self.seed),
            "--runs",
            str(self.runs),
        ]

    def audit_words(self, pictures: Path, weights: Path) -> list[str]:
        """The audit's command line, without `intaglio`."""
        return [
            "authenticate",
            "cgi-dm",
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
            "--seed",
            str(self.seed),
            "--runs",
            str(self.runs),
        ]

    def _work(self) -> dict[str, Any]:
        """Everything but the last report; returns the names of the two runs, and how often the verdict was right."""
        from intaglio.models.testbed import materialise
        from intaglio.report import write_report

        pictures = self.runs / "pictures" / self.set
        note(f"1. Ten pictures of an artist whom the model has never seen, and others to compare: {pictures}\n")
        materialise(self.set, pictures, captions=False)
        note("2. Fine-tune the embedded model on the ten members.")
        weights = Path(spoken(self.finetune_words(pictures))[-1])
        tuned = run_of(weights)
        write_report(tuned)
        note("\n3. Audit the ten members and ten others of the same kind, each judged as if nobody knew.")
        audit = run_of(Path(spoken(self.audit_words(pictures, weights))[-1]))
        return {"finetune": tuned.name, "audit": audit.name, "right": right(audit)}

    def _kept(self, summary: dict[str, Any]) -> bool:
        return all((self.runs / summary[step] / "run.json").is_file() for step in ("finetune", "audit"))

    def _tell(self, summary: dict[str, Any]) -> None:
        from intaglio.report import write_report

        counts, audit = summary["right"], self.runs / summary["audit"]
        report = write_report(audit, self.report)
        asked = counts["members"] + counts["holdouts"]
        how = f"{self.set}; {self.method}, {self.steps} steps"
        say(f"\nFine-tuned the embedded model on {counts['members']} pictures ({how}),")
        say(f"then asked of {asked} pictures which ones these were, at a false-positive rate of {RATE:.0%}:")
        say(f"  members   {counts['members_right']} of {counts['members']} right")
        say(f"  holdouts  {counts['holdouts_right']} of {counts['holdouts']} right")
        say("\nThe same with your own pictures and models:")
        for words in own_words(self.method):
            say(f"  intaglio {words}")
        say(f"\nFine-tune  {self.runs / summary['finetune'] / 'report.html'}")
        say(f"Report     {report}")


def own_words(method: str) -> tuple[str, str]:
    """What a user would type for pictures and models of their own."""
    return (
        f'finetune {method} --model BASE --images PICTURES --prompt "PROMPT"',
        'authenticate cgi-dm --base BASE --suspect TUNED --images QUESTIONED --controls CONTROLS --prompt "PROMPT"',
    )


def spoken(words: list[str]) -> list[str]:
    """Run a command line of ours, with its comments and progress as usual; returns the lines of its result."""
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
    """The run folder that a result lies in."""
    return next(folder for folder in (path, *path.parents) if (folder / "run.json").is_file())


def right(audit: Path) -> dict[str, int]:
    """How many members and holdouts there are, and on how many of each the verdict is right."""
    rows = json.loads((audit / "verdict.json").read_text(encoding="utf-8"))["questioned"]
    members = [row for row in rows if row["truth"]]
    holdouts = [row for row in rows if not row["truth"]]
    return {
        "members": len(members),
        "members_right": sum(row["called"] is True for row in members),
        "holdouts": len(holdouts),
        "holdouts_right": sum(row["called"] is False for row in holdouts),
    }


def _inputs(base: Path) -> dict[str, dict[str, str]]:
    from intaglio.files import folder_hash
    from intaglio.models.testbed import FOLDER

    sets = FOLDER / "sets"
    return {
        "base": {"path": str(base), "sha256": folder_hash(base)},
        "sets": {"path": str(sets), "sha256": folder_hash(sets)},
    }
