"""`intaglio bench blindspots`: concepts that a model never learnt, looked for among those that it draws too rarely."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from intaglio.bench.blindspots.unseen import Unseen
from intaglio.bench.blindspots.unseen_artist import UnseenArtist
from intaglio.bench.blindspots.unseen_kind import Kind, UnseenKind
from intaglio.bench.kit.methods import default_method
from intaglio.errors import BadInput
from intaglio.explain.blindspots.family import BlindSpotFinder
from intaglio.explain.blindspots.pictured_pairs import PicturedPairs
from intaglio.files import file_hash
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

VERB = "explain blindspots"
CORE = "dictionary"
PAIRS, QUICK_PAIRS = 150, 40
FREE = {"dictionary free": ("dictionary", {"atoms": "free"})}
"""Further rows: method and settings by name."""


@dataclass(frozen=True, kw_only=True)
class BlindSpotsBench:
    """Blind spots of a model for what it never saw, by guidance scale.

    Real pictures are by Noto, the base's held-out artist; generated ones are drawn for the same captions, "NAME, noto
    style". Other pictures of one set of subjects tell which concepts are Noto's and which are the three known artists':
    twice the energy on one side, at a false-discovery rate of 5%. Noto's should be suppressed and the others'
    exaggerated: `auc` is the chance that the log ratio of one of theirs is above that of one of Noto's, with its 95%
    interval over pairs. `control` is the same for real pictures that only went through the autoencoder, 0.5 where it
    explains nothing, and `beyond` for generated ones against these. `suppressed` is the share of Noto's concepts that
    are named so, `exaggerated` that of the others'; `first_ten` are Noto's among the ten that lose most.

    With `withheld`, a base that was trained without a kind of subject (`recipes/emoji64/train_base.py --without`) draws
    captions of all kinds by artists that it knows. Noto's pictures tell which concepts are that kind's and which the
    other kinds', and the embedded base, which saw them all, draws the same captions: `against` has its drawings in
    place of the real pictures, and `whole` has its own figures.
    """

    explain_figures: ClassVar[tuple[str, ...]] = ("blind_spots_found", "blind_spots_planted")
    """Headline figures that `bench explain` tells too."""

    quick: bool = False
    """40 pairs in place of 150; minutes."""
    rows: tuple[str, ...] = ()
    """Rows to measure, such as dictionary or channels; none takes all."""
    withheld: Path | None = None
    """Folder of a base trained without `kind`; none: the embedded base and the artist that it never saw."""
    kind: Kind | None = None
    """Kind of subject that `withheld` never saw, to be given with it."""
    guidance: tuple[float, ...] = (1.0, 3.0, 5.0)
    """Guidance scales, 0 or more."""
    seed: int = 0
    """Of drawings and fits, 0 to 2**32 - 1."""
    device: str = "cpu"
    """Device that the model draws on, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be 0 to 2**32 - 1, not {self.seed}")
        if (self.withheld is None) != (self.kind is None):
            raise ValueError("a base without a kind of subject and its kind belong together; give withheld and kind")
        if not self.guidance or any(not 0 <= one < float("inf") for one in self.guidance):
            raise ValueError(f"guidance must be scales of 0 or more, not {self.guidance}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row and scale under `rows`."""
        methods = self._methods()
        pairs = QUICK_PAIRS if self.quick else PAIRS
        settings = {
            "pairs": pairs,
            "guidance": list(self.guidance),
            "methods": {name: asdict(one) for name, one in methods.items()},
        }
        scenes = self._scenes(pairs)
        known = {
            "model": {"path": "testbed", "sha256": scenes["embedded"].model.fingerprint},
            "classifier": {"path": "testbed", "sha256": file_hash(testbed.classifier_path())},
        }
        if "withheld" in scenes:
            settings["kind"] = self.kind
            known["withheld"] = {"path": str(self.withheld), "sha256": scenes["withheld"].model.fingerprint}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "blindspots", settings, known, **about) as run:
            if run.status != "done":
                self._measure(methods, scenes, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        of, others = ("Noto's", "others'") if self.withheld is None else (f"{self.kind}:", "other kinds")
        head = (
            "row",
            "guidance",
            "auc",
            "autoencoder alone",
            "beyond it",
            f"{of} suppressed",
            f"{others} exaggerated",
            "first ten",
            "named",
            *([] if self.withheld is None else ["against the whole base", "auc of the whole base"]),
        )
        lines = [
            (
                name,
                scale,
                _bounds(one["auc"]),
                _bounds(one["control"]),
                _bounds(one["beyond"]),
                _share(one["suppressed"], one["unseen"]),
                _share(one["exaggerated"], one["known"]),
                f"{one['first_ten']}",
                f"{one['suppressed_all'] + one['exaggerated_all']} of {one['concepts']}",
                *([] if self.withheld is None else [_bounds(one["against"]), _bounds(one["whole"]["auc"])]),
            )
            for name, row in figures["rows"].items()
            for scale, one in row.items()
        ]
        return aligned([head, *lines])

    def _scenes(self, pairs: int) -> dict[str, Unseen]:
        """The embedded base and the artist; or a base without a kind, and the embedded one as its control."""
        whole = load_model(testbed.base_path(), device=self.device)
        if self.withheld is None or self.kind is None:
            return {"embedded": UnseenArtist(whole, pairs, self.seed)}
        without = load_model(self.withheld, device=self.device)
        kind, models = self.kind, {"withheld": without, "embedded": whole}
        return {name: UnseenKind(model, pairs, self.seed, kind) for name, model in models.items()}

    def _methods(self) -> dict[str, BlindSpotFinder]:
        """Methods by the names of their rows. Raises `BadInput` for a row that there is not."""
        found: dict[str, BlindSpotFinder] = {
            name: default_method(VERB, name, seed=self.seed) for name in VERBS[VERB].methods
        }
        found |= {name: default_method(VERB, of, seed=self.seed, **further) for name, (of, further) in FREE.items()}
        if unknown := [name for name in self.rows if name not in found]:
            raise BadInput(f"there is no row called {unknown[0]!r}; choose from: {', '.join(found)}")
        return {name: method for name, method in found.items() if not self.rows or name in self.rows}

    def _measure(self, methods: Mapping[str, BlindSpotFinder], scenes: Mapping[str, Unseen], run: Run) -> None:
        asked = [(name, scale) for scale in dict.fromkeys(self.guidance) for name in methods]
        left = [one for one in asked if _key(*one) not in run.recorded("row")]
        with run.progress(len(asked), "rows", len(asked) - len(left)) as progress:
            for name, scale in left:
                pairs = {of: scene.drawn(scale, run, f"drawn {of} {scale:g}") for of, scene in scenes.items()}
                run.record("row", _key(name, scale), _row(methods[name], scenes, pairs))
                progress.advance()
        for scale in self.guidance:
            for of in scenes:
                run.drop_state(f"drawn {of} {scale:g}")


def _row(method: BlindSpotFinder, scenes: Mapping[str, Unseen], pairs: Mapping[str, PicturedPairs]) -> dict[str, Any]:
    """Figures of the embedded base; or of one without a kind, beside the embedded one and against its drawings."""
    whole = scenes["embedded"].row(method, pairs["embedded"])
    if "withheld" not in scenes:
        return whole
    found = scenes["withheld"].row(method, pairs["withheld"], pairs["embedded"].parts["generated"])
    return found | {"whole": whole}


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row by its scale.

    Blind spots that were planted are the concepts of the artist, or the kind, that the base never saw; found are those
    of them that dictionary names as suppressed, at the first scale.
    """
    rows = dict[str, dict[str, Any]]()
    for key, found in recorded.items():
        name, _, scale = key.rpartition(" at ")
        rows.setdefault(name, {})[scale] = dict(found)
    every = [(f"{name}_{scale}", one) for name, row in rows.items() for scale, one in row.items()]
    flat = {f"auc_{name}": one["auc"][0] for name, one in every}
    flat |= {f"auc_whole_{name}": one["whole"]["auc"][0] for name, one in every if "whole" in one}
    flat |= {f"auc_against_whole_{name}": one["against"][0] for name, one in every if "whole" in one}
    core = next(iter(rows.get(CORE, {}).values()), None)
    headline = {
        "blind_spots_planted": None if core is None else core["unseen"],
        "blind_spots_found": None if core is None else round((core["suppressed"] or 0.0) * core["unseen"]),
    }
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**headline, **flat, **about, "rows": rows}


def _key(name: str, scale: float) -> str:
    return f"{name} at {scale:g}"


def _bounds(found: Sequence[float | None]) -> str:
    whole, low, high = found
    return "-" if whole is None else f"{whole:.3f} ({low:.3f} to {high:.3f})"


def _share(found: float | None, count: int) -> str:
    return "-" if found is None else f"{found:.0%} of {count}"
