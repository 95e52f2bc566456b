"""`intaglio audit selection METHOD`: training pictures chosen from a pool for pictures to become good at."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.adapt.picture_prompts import picture_prompts
from intaglio.audit.selection.pool_size import check_size
from intaglio.commands.audit.prompted import Prompted
from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described, short_number
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.selection.family import Selector
    from intaglio.audit.selection.result import Selection
    from intaglio.images.folder import Listing
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_ROWS = 40
"""Chosen pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class AuditSelection(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Choose training pictures from a pool, so that a model trained on them becomes good at given ones.

    --model is where the training would begin. The chosen pictures are copied, with their captions, into images/chosen
    of the run's folder, which `intaglio finetune --images` takes. The same command again resumes one that was killed.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("candidates", "target")
    method: tyro.conf.OmitArgPrefixes[M]
    candidates: Path
    """Folder of the pictures to choose from, two or more; captions in .txt files of the same name, metadata.jsonl, or
    kohya folders such as 10_dog."""
    target: Path
    """The pictures that the model is to become good at: a folder or a file, with captions of the same kinds. Keep some
    of their kind aside to test the model on."""
    prompt: str | None = None
    """Prompt of every picture, of either folder, that has no caption of its own."""

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a picture without a prompt, and for too few to choose from."""
        for listing in listed.values():
            entries = listing.entries
            picture_prompts([one.name for one in entries], [one.caption for one in entries], self.prompt, "prompt")
        check_size(cast(Any, self.method).size, len(listed["candidates"].entries))

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.influence.cost import influence_plan
        from intaglio.audit.selection.result import Selection

        model = self.noted_model(self.device)
        self._method.check(model)
        pool, target = (
            Prompted.of(self.load_pictures(path, model.resolution), self.prompt)
            for path in (self.candidates, self.target)
        )
        plan = influence_plan(
            self._method, model, pool.asked, target.asked, said="{train} candidates for {queries} targets"
        )
        if self.dry_run and self.ends_with(plan):
            return 0
        with self._open(model, pool, target) as run:
            if run.status != "done":
                for warning in dict.fromkeys((*model.notes, *_warnings(pool, target), *target.images.warnings)):
                    run.warn(warning)
                self.begin(run, plan)
                self._select(model, pool, target, run)
            self._method.forget(model, pool.asked, target.asked, run)
        folder = Path(run.folder or ".")
        _report(cast(Selection, Selection.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "Selector":
        return cast("Selector", self.method)

    def _open(self, model: "LatentDiffusion", pool: Prompted, target: Prompted) -> "Run":
        from intaglio.runs.plain_json import digest

        known: dict[str, Any] = {"model": described(self.model, model.fingerprint)}
        known["autoencoder"] = described(self.model, model.part_fingerprint("autoencoder"))
        for name, path, part in (("candidates", self.candidates, pool), ("target", self.target, target)):
            known[name] = described(path, digest([part.images.names, part.asked]))
        settings = asdict(cast(Any, self.method))
        return self.open_run("audit", f"selection-{self._method.name}", settings, known, seed=settings.get("seed"))

    def _select(self, model: "LatentDiffusion", pool: Prompted, target: Prompted, run: "Run") -> None:
        from intaglio.audit.selection.audit import select_examples

        found = select_examples(self._method, model, pool.examples(model), target.examples(model), run=run)
        found.save(Path(run.folder or "."))
        run.finish(found.figures(), ("selection.json", "selection.csv", *(("images",) if found.pictures else ())))


def _warnings(pool: Prompted, target: Prompted) -> list[str]:
    """Warnings of the pool: of its files, and of targets that are among the candidates."""
    found = list(pool.images.warnings)
    known = set(target.images.hashes)
    if both := [name for name, one in zip(pool.images.names, pool.images.hashes, strict=True) if one in known]:
        more = f" and {len(both) - 5} more" if len(both) > 5 else ""
        found.append(f"candidates that are targets themselves: {', '.join(both[:5])}{more}; they choose themselves")
    return found


def _report(found: "Selection", folder: Path) -> None:
    """Print the chosen candidates, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["candidate"], short_number(row["weight"]), short_number(row["score"]))
        for row in found.rows()[: min(MOST_ROWS, len(found.places))]
    ]
    say(aligned([("chosen", "weight", "score"), *rows]))
    if (left := len(found.places) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'selection.csv'}")
    say()
    say(found.statement)
    say(str(folder / "images" / "chosen"))
    say(str(write_report(folder)))
