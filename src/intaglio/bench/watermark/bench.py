"""`intaglio bench watermark`: marks under attacks and purifiers, their false calls, and how they are forged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.bench.kit.methods import default_method
from intaglio.bench.watermark.figures import figures_of, table_of
from intaglio.bench.watermark.mark_row import MarkRow, MarkScene
from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.protect.fingerprint.family import PictureMark
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

VERB = "protect fingerprint"
QUICK_PICTURES, QUICK_KEYS = 20, 40


@dataclass(frozen=True, kw_only=True)
class WatermarkBench:
    """Every mark under attacks and purifiers: calls, right bits, users, false calls and forgeries.

    Marks in pixels are put into real pictures, those in the noise into drawings of the same captions; decoders are
    tuned on all the real pictures there are, one each for two users, and decode drawings. A call is by the mark's own
    p-value, whose threshold is the theory's. Rows of a mark: under each attack the share of pictures called at 1%, 1e-3
    and 1e-6, the share of right bits, the share whose owner is the likeliest of 1,024 users, and the share called for a
    wrong user among them at 1%; the share of pictures without the mark that are called, real ones, drawn ones and ones
    marked by another key, over pictures and keys, with its interval; the share of forgeries that are accepted at 1e-3,
    by who has ten marked pictures and no key; PSNR to unmarked twins, or the kernel distance of drawings from unmarked
    ones beside the floor of two unmarked sets; seconds to read a picture; of marks in weights also those of what is
    learnt once for all users, and of one user's model.
    """

    quick: bool = False
    """20 pictures and 40 keys, without marks that learn once for a model; minutes in place of an hour."""
    marks: tuple[str, ...] = ()
    """Marks to measure, by the names of methods; none takes all, but with --quick those that learn once for a model."""
    pictures: int = 100
    """Pictures of a row, 4 to 340, with --quick at most 20."""
    keys: int = 40
    """Keys that pictures without the mark are held against, from 1."""
    steps: int = 20
    """Steps of DDIM of the drawings, from 1."""
    guidance: float = 3.0
    """Guidance scale of the drawings, 0 or more."""
    seed: int = 0
    """Of keys, drawings and attacks, from 0."""
    workers: int | None = None
    """Processes that rows are spread over; none takes one a core on the CPU, else one."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""
    model: Path | None = None
    """The model that draws and reads; none takes the embedded testbed."""

    def __post_init__(self) -> None:
        if not 4 <= self.pictures <= 340:
            raise ValueError(f"pictures must be 4 to 340, not {self.pictures}")
        for name, least in {"keys": 1, "steps": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance must be 0 or more, and finite, not {self.guidance}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them the table of every row under `rows`."""
        rows = self._rows()
        settings = {
            **{name: getattr(self, name) for name in ("steps", "guidance", "seed")},
            "pictures": self._pictures,
            "keys": self._keys,
            "rows": {name: asdict(mark) for name, mark in rows.items()},
        }
        known = {"model": {"path": str(self.model or "testbed"), "sha256": self._model().fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "watermark", settings, known, **about) as run:
            if run.status != "done":
                self._measure(rows, run)
                run.finish(figures_of(run))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as tables."""
        return table_of(figures)

    @property
    def _pictures(self) -> int:
        return min(self.pictures, QUICK_PICTURES) if self.quick else self.pictures

    @property
    def _keys(self) -> int:
        return min(self.keys, QUICK_KEYS) if self.quick else self.keys

    def _rows(self) -> dict[str, PictureMark]:
        """Marks by the names of their rows."""
        known = VERBS[VERB].methods
        if unknown := [name for name in self.marks if name not in known]:
            raise BadInput(f"there is no mark called {unknown[0]!r}; choose from: {', '.join(known)}")
        found = {}
        every = [name for name in known if not (self.quick and type(default_method(VERB, name)).learns_once)]
        for name in dict.fromkeys(self.marks or every):
            for words, settings in type(default_method(VERB, name)).bench.items():
                found[f"{name} {words}".strip()] = default_method(VERB, name, **settings)
        return found

    def _measure(self, rows: Mapping[str, PictureMark], run: Run) -> None:
        left = [name for name in rows if name not in run.recorded("row")]
        workers = self.workers or workers_for(self.device)
        with run.progress(len(rows), "marks", len(rows) - len(left)) as progress:
            for name, found in fan_out(self._measured, left, workers):
                run.record("row", name, found)
                progress.advance()

    def _measured(self, name: str) -> dict[str, Any]:
        """One row, in whatever process."""
        return MarkRow(self._rows()[name], self._scene()).measured()

    def _scene(self) -> MarkScene:
        model, people = self._model(), testbed.real_pictures()
        every = people.pixels if model.resolution == people.pixels.shape[-1] else _resized(people.pixels, model)
        prompts = tuple(caption or "" for caption in people.captions[: self._pictures])
        way = (self.steps, self.guidance, self.seed, self._keys)
        return MarkScene(model, every[: self._pictures], prompts, *way, every)

    def _model(self) -> LatentDiffusion:
        return load_model(self.model or testbed.base_path(), device=self.device)


def _resized(pixels: Any, model: LatentDiffusion) -> Any:
    from torch.nn import functional

    return functional.interpolate(pixels, (model.resolution,) * 2, mode="bicubic").clamp(0, 1)
