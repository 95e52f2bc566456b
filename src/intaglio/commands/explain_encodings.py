"""`intaglio explain encodings METHOD`: an encoder of pictures whose numbers make up what noise destroys."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.encodings.family import SlottedEncoding
    from intaglio.explain.encodings.result import PictureEncodings
    from intaglio.images.folder import Listing

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainEncodings(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Learn an encoder of pictures whose numbers make up what noise destroys, slot by slot of the noise levels.

    It is taught beside a model's frozen denoiser, without labels. The run keeps the encoder, the numbers of each
    picture as a table of features, what each slot makes up and which labels are read from it, and drawings with slots
    swapped between two pictures. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder; some hundred or more."""
    labels: Path | None = None
    """Labels of the pictures, which are read from the slots and taught to nothing: a CSV file with a column picture and
    others, such as kind."""
    columns: tuple[str, ...] = ()
    """Columns of the labels that are read, such as kind; none takes all but that of --group."""
    group: str = ""
    """Column of the labels by which pictures belong together, such as twins of one name; no two pictures of a group are
    on both sides of a fold."""

    def check_early(self) -> None:
        """Raises `BadInput` for columns of labels that are not given."""
        if self.labels is None and (self.columns or self.group):
            raise BadInput("--columns and --group are of labels; give --labels FILE, or leave them out")

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for labels that do not fit the pictures' names, or of too few pictures."""
        if not self.skip_bad:
            self._texts([entry.name for entry in listed["images"].entries])

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.encodings.cost import encoding_plan
        from intaglio.explain.encodings.result import CODES, IMAGES, PictureEncodings
        from intaglio.files import file_hash

        model = self.noted_model(self.device)
        images = self.load_pictures(self.images, model.resolution)
        texts, groups = self._texts(list(images.names))
        self._method.check(model, images)
        plan = encoding_plan(self._method, model, images)
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"model": described(self.model, model.fingerprint)}
        known |= {"images": described(self.images, images.fingerprint)}
        if self.labels is not None:
            known |= {"labels": described(self.labels, file_hash(self.labels))}
        settings = {**asdict(cast(Any, self.method)), "columns": self.columns, "group": self.group}
        with self.open_run("explain", f"encodings-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in dict.fromkeys((*model.notes, *images.warnings)):
                    run.warn(warning)
                found = self._method(model, images, texts, groups, run=run)
                found.save(folder)
                run.finish(found.figures(), (found.file, found.table, CODES, *([IMAGES] if found.pairs else [])))
                self._method.forget(run)
        _report(cast("PictureEncodings", PictureEncodings.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "SlottedEncoding":
        return cast("SlottedEncoding", self.method)

    def _texts(self, names: list[str]) -> tuple[dict[str, list[str]], list[str] | None]:
        """Labels by column, and the group of each picture. Raises `BadInput` for columns that there are not."""
        from intaglio.explain.kept_labels import LEAST, kept_labels
        from intaglio.explain.picture_columns import read_label_columns

        if self.labels is None:
            return {}, None
        texts, groups = read_label_columns(self.labels, names, self.columns, self.group)
        kept_labels(texts, groups, max(LEAST, self._method.folds))
        return texts, groups


def _report(found: "PictureEncodings", folder: Path) -> None:
    """Print a line a slot, and write the report."""
    from intaglio.report import write_report

    say(aligned([tuple(map(one_line, line)) for line in found.lines()]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
