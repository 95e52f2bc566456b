"""`intaglio audit influence METHOD`: training pictures ranked by how far each made a model good at a picture."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.adapt.picture_prompts import picture_prompts
from intaglio.commands.audit.prompted import Prompted
from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described, short_number
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.influence.family import Influence
    from intaglio.audit.influence.result import InfluenceScores
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_SHOWN = 12
"""Proponents, and opponents, at most, that a report shows of each picture."""
MOST_ROWS = 40
"""Pictures asked about of the printed table."""


@dataclass(frozen=True, kw_only=True)
class AuditInfluence(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Rank training pictures by how far each made a model good at a given picture.

    --train is the set that the model was trained on, or fine-tuned on. Positive numbers are of proponents, without
    which the model would denoise the picture worse. The same command again resumes one that was killed.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("train", "images")
    method: tyro.conf.OmitArgPrefixes[M]
    train: Path
    """Folder of the training pictures; captions in .txt files of the same name, metadata.jsonl, or kohya folders such
    as 10_dog."""
    images: Path
    """The pictures asked about: a folder or a file, with captions of the same kinds. Drawn ones and training pictures
    can be asked about too."""
    prompt: str | None = None
    """Prompt of every picture, of either folder, that has no caption of its own."""
    shown: int = 4
    """Proponents of each picture asked about, and as many opponents, that the report shows, 1 to 12."""

    def __post_init__(self) -> None:
        if not 1 <= self.shown <= MOST_SHOWN:
            raise ValueError(f"shown must be 1 to {MOST_SHOWN}, not {self.shown}")

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a picture without a prompt."""
        for listing in listed.values():
            entries = listing.entries
            picture_prompts([one.name for one in entries], [one.caption for one in entries], self.prompt, "prompt")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.influence.cost import influence_plan
        from intaglio.audit.influence.result import InfluenceScores

        model = self.noted_model(self.device)
        self._method.check(model)
        train, queries = (
            Prompted.of(self.load_pictures(path, model.resolution), self.prompt) for path in (self.train, self.images)
        )
        plan = influence_plan(self._method, model, train.asked, queries.asked)
        if self.dry_run and self.ends_with(plan):
            return 0
        with self._open(model, train, queries) as run:
            if run.status != "done":
                for warning in dict.fromkeys((*model.notes, *_warnings(train.images), *queries.images.warnings)):
                    run.warn(warning)
                self.begin(run, plan)
                self._audit(model, train, queries, run)
            self._method.forget(model, train.asked, queries.asked, run)
        folder = Path(run.folder or ".")
        _report(cast(InfluenceScores, InfluenceScores.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "Influence":
        return cast("Influence", self.method)

    def _open(self, model: "LatentDiffusion", train: Prompted, queries: Prompted) -> "Run":
        from intaglio.runs.plain_json import digest

        known: dict[str, Any] = {"model": described(self.model, model.fingerprint)}
        known["autoencoder"] = described(self.model, model.part_fingerprint("autoencoder"))
        for name, path, part in (("train", self.train, train), ("images", self.images, queries)):
            known[name] = described(path, digest([part.images.names, part.asked]))
        settings = {**asdict(cast(Any, self.method)), "shown": self.shown}
        return self.open_run("audit", f"influence-{self._method.name}", settings, known, seed=settings.get("seed"))

    def _audit(self, model: "LatentDiffusion", train: Prompted, queries: Prompted, run: "Run") -> None:
        from intaglio.audit.influence.audit import audit_influence

        sets = [part.examples(model) for part in (train, queries)]
        found = audit_influence(self._method, model, *sets, shown=self.shown, run=run)
        found.save(Path(run.folder or "."))
        pictures = ("images",) if found.pictures else ()
        run.finish(found.figures(), ("influence.json", "influence.csv", *pictures))


def _warnings(train: "ImageSet") -> list[str]:
    """Warnings of the training pictures: of their files, of copies, of repeats."""
    found = list(train.warnings)
    if pairs := train.duplicates():
        alike = ", ".join(f"{one} and {two}" for one, two in pairs[:5])
        more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
        found.append(f"training pictures that look the same share their influence: {alike}{more}")
    if any(times > 1 for times in train.repeats):
        found.append("repeats of kohya folders are not counted: a number is of one occurrence of its picture")
    return found


def _report(found: "InfluenceScores", folder: Path) -> None:
    """Print the strongest proponent and opponent of each picture, and write the report."""
    from intaglio.report import write_report

    rows = []
    for query, name in enumerate(found.queries[:MOST_ROWS]):
        best, worst = ([*found.proponents(query, 1)], [*found.opponents(query, 1)])
        cells = [
            (found.train[side[0]], short_number(float(found.tau[query, side[0]]))) if side else ("-", "-")
            for side in (best, worst)
        ]
        rows.append((name, *cells[0], *cells[1]))
    say(aligned([("picture", "strongest proponent", "tau", "strongest opponent", "tau"), *rows]))
    if (left := len(found.queries) - len(rows)) > 0:
        say(f"{left} more, and all pairs, are in {folder / 'influence.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
