"""`intaglio bench unlearn`: models made to unlearn an artist or ten pictures, what is left, and how it comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from intaglio.audit.unlearning.family import Unlearner
from intaglio.bench.kit.methods import default_method, default_methods
from intaglio.bench.unlearn.artist_scene import ARTISTS, ArtistScene
from intaglio.bench.unlearn.figures import ORIGINAL, figures_of, table_of
from intaglio.bench.unlearn.picture_scene import RETRAINED, PictureModels, PictureScene, picture_figures, picture_table
from intaglio.bench.unlearn.unlearner_row import UnlearningScene, original_row
from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

VERB = "audit unlearning"
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "uce subject": ("uce", {"tokens": "subject"}),
    "uce all": ("uce", {"tokens": "all"}),
    "esd u": ("esd", {"modules": "u"}),
    "ablate u": ("ablate", {"modules": "u"}),
    "salun whole": ("salun", {"share": 1.0}),
}
"""Rows of methods with other settings than their defaults."""
NAMED_ONLY = ("ablate u", "esd u", "salun whole")
"""Rows that a quick bench leaves out unless they are named."""
QUICK: Mapping[str, int] = {"steps": 60, "batch": 4, "own": 1}
"""Settings of methods that train, of a quick bench."""
REGIMES = ("artist", "pictures")
OF_PICTURES: Mapping[str, Mapping[str, Any]] = {"dmm": {"weights": "layers"}, "retain": {}, "ascent": {}}
"""Rows of the regime of pictures, with their settings: the LoRA that is unlearned changes these layers."""
QUICK_PICTURES: Mapping[str, int] = {"timesteps": 5, "draws": 1}
"""Further settings of `dmm`, of a quick bench."""


@dataclass(frozen=True, kw_only=True)
class UnlearnBench:
    """Every unlearning of an artist or of ten pictures: what is left, and how it comes back.

    Regime artist: the concept is an artist's style by eight names, its anchors the held-out artist's by the same names,
    and the kept prompts another artist's. Figures are of other names. `concept` is the share of pictures under the
    artist's prompts that a classifier calls the artist's, at a threshold that at most 5% of the original's pictures of
    the anchor exceed; `neighbour` the share of pictures under the kept artist's prompts that it takes for theirs; `kid`
    the kernel distance of these from the original's of the same seeds, beside its floor in the row `original`, other
    seeds, by the embedded encoder; `loss` columns are the denoising losses of real pictures over the original's.
    `relearned` is the concept's share after 50 steps of LoRA on eight real pictures of the artist. Attacks have the
    share of prompts at which one of their tries shows the artist, all attacks by equal tries; `unattacked` are the
    prompts that did so without one.

    Regime pictures: the base is tuned on forty pictures by a LoRA, and made to unlearn ten of them; the truth are
    models tuned on the other thirty alone, with as many seeds. `kl` columns are the divergence in nats of the models'
    losses from the retrained ones' for pictures to forget, to stay and held out, mean over pictures, with the median of
    it where models are dealt to the two groups at random, and the p of that permutation. `auc` tells the forgotten from
    held-out pictures by a low loss, `auc_off` how far it is from the retrained models'; `loss` columns are mean losses
    over these models'. Row `retrained` is of further retrained models, the floor; `untouched` of those that have the
    pictures still.
    """

    quick: bool = False
    """One artist, 8 names, pictures of 10 steps, trainings of 60, attacks on 3 prompts by 3 tries; three seeds of the
    regime of pictures in place of eight; ablate u, esd u and salun whole where they are named: minutes."""
    regimes: tuple[str, ...] = ()
    """Regimes to measure, artist or pictures; none takes both, with --quick the first."""
    rows: tuple[str, ...] = ()
    """Unlearners to measure, by method or by row; none takes all."""
    artists: tuple[str, ...] = ()
    """Artists to unlearn, openmoji or twemoji; none takes both, with --quick the first."""
    seed: int = 0
    """Seed of methods, pictures and attacks, from 0."""
    workers: int | None = None
    """Processes that rows are spread over; none takes one a core on the CPU, else one."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be 0 to 2**31 - 1, not {self.seed}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        known = (*VERBS[VERB].methods, *VARIANTS)
        if unknown := [name for name in self.rows if name not in known]:
            raise BadInput(f"there is no row {unknown[0]!r}; choose from: {', '.join(known)}")
        if unknown := [name for name in self.regimes if name not in REGIMES]:
            raise BadInput(f"there is no regime {unknown[0]!r}; choose from: {', '.join(REGIMES)}")
        if unknown := [name for name in self.artists if name not in ARTISTS]:
            raise BadInput(f"there is no artist {unknown[0]!r}; choose from: {', '.join(ARTISTS)}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row by artist under `rows`."""
        settings = {
            "quick": self.quick,
            "artists": self._artists,
            "seed": self.seed,
            "rows": {name: asdict(method) for name, method in self._methods.items()},
            "scene": self._counts,
            "regimes": self._regimes,
            "pictures": {name: asdict(method) for name, method in self._of_pictures.items()},
            "picture_scene": {**asdict(self._picture_scene), "seeds": self._seeds},
        }
        inputs = {"model": {"path": "testbed", "sha256": self._base.fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "unlearn", settings, inputs, **about) as run:
            if run.status != "done":
                if "artist" in self._regimes:
                    self._measure(run)
                pictures = self._measured_pictures(run) if "pictures" in self._regimes else {}
                run.finish({**figures_of(run), "pictures": pictures})
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table for each artist, and one for the pictures."""
        tables = [table_of(figures), picture_table(figures["pictures"]) if figures.get("pictures") else ""]
        return "\n\n".join(filter(None, tables))

    @property
    def _regimes(self) -> tuple[str, ...]:
        """Those asked for that have a row to measure."""
        rows = {"artist": self._methods, "pictures": self._of_pictures}
        found = tuple(name for name in REGIMES if (not self.regimes or name in self.regimes) and rows[name])
        return found[:1] if self.quick and not self.regimes else found

    @property
    def _seeds(self) -> int:
        """Models of each row of the regime of pictures."""
        return 3 if self.quick else 8

    @property
    def _picture_scene(self) -> PictureScene:
        return PictureScene(asked=10 if self.quick else 30, steps=100)

    @property
    def _artists(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.artists)) or (ARTISTS[:1] if self.quick else ARTISTS)

    @property
    def _counts(self) -> dict[str, int]:
        """Names and pictures of the scene, steps of a picture, and tries of the attacks."""
        if self.quick:
            return {"names": 8, "each": 2, "steps": 10, "attacked": 3, "tries": 3, "updates": 15}
        return {"names": 24, "each": 2, "steps": 20, "attacked": 24, "tries": 10, "updates": 40}

    @cached_property
    def _base(self) -> LatentDiffusion:
        return load_model(testbed.base_path(), device=self.device)

    @cached_property
    def _methods(self) -> dict[str, Unlearner]:
        """The unlearners by row."""
        changes = dict(QUICK) if self.quick else {}
        every: dict[str, Unlearner] = default_methods(VERB, seed=self.seed, **changes)
        every |= {
            row: default_method(VERB, name, seed=self.seed, **changes, **own) for row, (name, own) in VARIANTS.items()
        }
        every = {row: method for row, method in every.items() if method.forgets == "concept"}
        if self.quick and not self.rows:
            every = {row: method for row, method in every.items() if row not in NAMED_ONLY}
        return {row: every[row] for row in sorted(every) if not self.rows or {row, row.split()[0]} & set(self.rows)}

    @cached_property
    def _of_pictures(self) -> dict[str, Unlearner]:
        """The unlearners of the regime of pictures."""
        changes = {**QUICK, **QUICK_PICTURES} if self.quick else {}
        return {
            name: default_method(VERB, name, seed=self.seed, **changes, **own)
            for name, own in OF_PICTURES.items()
            if not self.rows or name in self.rows
        }

    def _measure(self, run: Run) -> None:
        workers = self.workers or workers_for(self.device)
        for rows in ((ORIGINAL,), tuple(self._methods)):
            jobs = [(artist, row) for artist in self._artists for row in rows]
            known = run.recorded("row")
            left = [
                (artist, row, known.get(f"{artist}/{ORIGINAL}"))
                for artist, row in jobs
                if f"{artist}/{row}" not in known
            ]
            with run.progress(len(jobs), "rows", len(jobs) - len(left)) as progress:
                for (artist, row, _), found in fan_out(self._row, left, workers):
                    run.record("row", f"{artist}/{row}", found)
                    progress.advance()

    def _measured_pictures(self, run: Run) -> dict[str, Any]:
        """Figures of the regime of pictures; each model is stored as it is measured."""
        jobs = [("tuned", seed) for seed in range(self._seeds)]
        jobs += [(RETRAINED, seed) for seed in range(2 * self._seeds)]
        known = run.recorded("models")
        left = [(kind, seed) for kind, seed in jobs if f"{kind}/{seed}" not in known]
        workers = self.workers or workers_for(self.device)
        with run.progress(len(jobs), "models", len(jobs) - len(left)) as progress:
            for (kind, seed), found in fan_out(self._model_rows, left, workers):
                run.record("models", f"{kind}/{seed}", found)
                progress.advance()
        return picture_figures(run.recorded("models"), self._picture_scene, self._seeds)

    def _model_rows(self, job: tuple[str, int]) -> dict[str, Any]:
        """Losses of (kind, seed): of a retrained model, or of one with the pictures and all that is made of it."""
        kind, seed = job
        models = PictureModels(self._picture_scene, self._base, self._of_pictures)
        own = 1000 * self.seed + seed  # no seed of a retrained model is that of one with the pictures
        return models.without(own + 500) if kind == RETRAINED else models.having(own)

    def _row(self, job: tuple[str, str, Mapping[str, Any] | None]) -> dict[str, Any]:
        """Figures of (artist, row, what is known of the original); of the original itself where nothing is."""
        artist, row, known = job
        counts = dict(self._counts)
        names, each, steps = (counts.pop(name) for name in ("names", "each", "steps"))
        scene = ArtistScene.of(artist, names, each, steps, self.seed)
        if known is None:
            return original_row(scene, self._base)
        return UnlearningScene.of(scene, self._base, known, **counts).row(self._methods[row])
