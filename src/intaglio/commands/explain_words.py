"""`intaglio explain words METHOD`: which places of a drawn picture each word of its prompt is about."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.explain.words.family import WordMapper
    from intaglio.explain.words.result import WordMaps
    from intaglio.runs.run import Run

M = TypeVar("M")
LOW = 0.1
"""Lead of a map's correlation over that with other words below which a warning is due."""


@dataclass(frozen=True, kw_only=True)
class ExplainWords(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Draw pictures from a prompt, and show for each word the places that it is about.

    Every map is tested: at some steps the picture is predicted without the word, and the map's rank correlation with
    the change is told, beside that with the changes of other words. The same command again goes on where a killed one
    was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    prompt: str
    """The prompt; its words are what stands between blanks."""
    pictures: int = 4
    """Pictures that are drawn, at least 1."""

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise ValueError(f"pictures must be at least 1, not {self.pictures}")

    def check_early(self) -> None:
        """Raises `BadInput` for a prompt without words."""
        if not self.prompt.strip():
            raise BadInput("the prompt has no word to ask about; give --prompt some")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.words.cost import words_plan
        from intaglio.explain.words.prompt_words import asked_words
        from intaglio.explain.words.result import WordMaps

        check_count("--pictures", self.pictures)
        model = self.noted_model(self.device)
        self._method.check(model)
        words = asked_words(model, self.prompt).words
        plan = words_plan(self._method, model, len(words), self.pictures)
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"model": described(self.model, model.fingerprint)}
        settings = {**asdict(cast(Any, self.method)), "prompt": self.prompt, "pictures": self.pictures}
        with self.open_run("explain", f"words-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                found = self._method(model, self.prompt, self.pictures, run=run)
                _save_pictures(found, run)
                if (lead := _lead(found)) is not None and lead < LOW:
                    run.warn(
                        f"a map agrees with the effect of its own word hardly more than with those of others (by "
                        f"{lead:.2f}): it says where words act, not which"
                    )
                found.save(folder)
                run.finish(found.figures(), ("words.safetensors", "words.csv", "images"))
                self._method.forget(run, self.pictures)
        _report(cast("WordMaps", WordMaps.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "WordMapper":
        return cast("WordMapper", self.method)


def _lead(found: "WordMaps") -> float | None:
    figures = found.figures()
    others = figures["with_other_words"]
    return None if others is None else figures["agreement"] - others


def _save_pictures(found: "WordMaps", run: "Run") -> None:
    """Store each map over its picture, and the effect of leaving the word out."""
    from torch.nn.functional import interpolate

    from intaglio.explain.heat_maps import overlaid

    size = (found.pixels.shape[-2], found.pixels.shape[-1])
    for kind, values in (("map", found.maps), ("effect", found.effects)):
        least = values.amin((2, 3), keepdim=True)
        sized = interpolate(values - least, size, mode="bilinear", align_corners=False)
        for seed, pixels, words in zip(found.seeds, found.pixels, sized, strict=True):
            for k, one in enumerate(words):
                run.save_image(f"{seed}-{k:02d}-{kind}", overlaid(one, pixels))


def _report(found: "WordMaps", folder: Path) -> None:
    """Print a line a word, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["word"], *("" if row[key] is None else f"{row[key]:.2f}" for key in ("agreement", "with_other_words")),
         f"{row['effect']:.3f}")
        for row in found.rows()
    ]  # fmt: skip
    say(aligned([("word", "agreement", "with other words", "effect"), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
