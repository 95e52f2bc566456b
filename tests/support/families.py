"""How the methods of a verb are called in the shared tests, and what their results are compared by."""

import csv
import dataclasses
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

import attribute_scenes
import attribution_scenes
import cate_scenes
import certify_scenes
import debias_scenes
import explain_scenes
import feature_scenes
import inference_scenes
import merge_scenes
import private_scenes
import series_scenes
import sharpening_scenes
import slice_scenes
import surrogate_scenes
import tiny
import transfer_scenes
from audit_scenes import audited
from bias_scenes import bias_judge
from direction_scenes import direction_judge
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.settings import Watch
from intaglio.audit.attribution.audit import attribute_pictures
from intaglio.audit.attribution.result import SourceScores
from intaglio.audit.components.audit import audit_components
from intaglio.audit.components.drawing_components import AddedWords, Drawing, TunedWeights
from intaglio.audit.components.result import ComponentShares
from intaglio.audit.inference.audit import check_results
from intaglio.audit.inference.drawings.result import CheckedDrawings
from intaglio.audit.inference.result import CheckedAnswers
from intaglio.audit.inference.service_student import probabilities
from intaglio.audit.influence.result import InfluenceScores
from intaglio.audit.prompts.result import PromptScores
from intaglio.audit.queries.audit import attack_records
from intaglio.audit.queries.record_table import RecordTable
from intaglio.audit.queries.result import QueryGuesses
from intaglio.audit.queries.sticky_engine import StickyNoise
from intaglio.audit.queries.synthetic_records import SECRET, attribute_names, synthetic_records
from intaglio.audit.selection.result import Selection
from intaglio.audit.unlearning.attack.result import UnlearnAttacks
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.result import Unlearned, UnlearningRecord
from intaglio.causal.cate.result import UnitEffects
from intaglio.causal.debias.result import DebiasedEffects
from intaglio.causal.results.discovery import ARRAYS, Discovery
from intaglio.causal.tables.table import Table
from intaglio.causal.transfer.result import TransferPredictions
from intaglio.denoising.examples import Examples
from intaglio.denoising.picture_samples import picture_samples
from intaglio.distill.distillation_set import DistillationSet
from intaglio.explain.bias.family import FoundEdit
from intaglio.explain.blindspots.pictured_pairs import PicturedPairs
from intaglio.explain.blindspots.result import BlindSpots
from intaglio.explain.collection.label_agreement import LabelColumn
from intaglio.explain.collection.result import CollectionMap
from intaglio.explain.components.result import PatchedComponents
from intaglio.explain.concepts.result import ConceptPart, Concepts
from intaglio.explain.counterfactuals.made_pictures import counterfactuals
from intaglio.explain.counterfactuals.picture_measures import measured_attribute
from intaglio.explain.counterfactuals.result import Counterfactuals
from intaglio.explain.directions.result import FILE as DIRECTIONS
from intaglio.explain.directions.result import Directions
from intaglio.explain.encodings.result import PictureEncodings
from intaglio.explain.features.result import FeatureProbes
from intaglio.explain.heads.result import HeadReadings
from intaglio.explain.paths.result import ClassGraph
from intaglio.explain.picture_features import LayerFeatures
from intaglio.explain.repairs.family import NETWORK, Repair
from intaglio.explain.repairs.result import RepairedClassifier
from intaglio.explain.result import Attributions
from intaglio.explain.selectors.family import PREDICTOR, SELECTOR, TaughtSelector
from intaglio.explain.selectors.result import SelectedPixels
from intaglio.explain.series.result import ExplainedPoints
from intaglio.explain.sharpening.result import SharpenedEncoder
from intaglio.explain.slices.result import ErrorSlices
from intaglio.explain.surrogate.result import SurrogateRules
from intaglio.explain.weights.kernel_layers import kernel_layers
from intaglio.explain.weights.result import KernelReadings
from intaglio.explain.words.result import WordMaps
from intaglio.flow.sampling import sample_flow
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.learning.checkpoints import Checkpoints
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models.classifiers import load_classifier
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.flow.tarflow import TarFlow
from intaglio.models.flow.tarflow_files import load_flow, save_flow
from intaglio.models.lora.lora import LoRA
from intaglio.models.picture_selectors import load_selector
from intaglio.protect.certify.result import CertifiedPictures
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.marked_model import MarkedModel, mark_model
from intaglio.protect.fingerprint.marking import draw_marked, mark_pictures
from intaglio.protect.fingerprint.result import MarkedPictures
from intaglio.protect.originals import Original, read_original
from intaglio.protect.private.result import PrivateClassifier, PrivateRecord
from intaglio.protect.protection import protect
from intaglio.protect.purify.purification import purify_pictures
from intaglio.protect.purify.result import PurifiedPictures
from intaglio.protect.result import ProtectionResult
from intaglio.runs.run import Run
from intaglio.runs.tensors import read_state
from intaglio.sampling.site_edit import FILE as EDIT
from intaglio.sampling.site_edit import SiteEdit
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.sampling.trained.family import PictureTrainer
from protect_scenes import originals
from shrink_scenes import planted_rows
from unlearning_scenes import given

Numbers = dict[str, torch.Tensor]
PICTURES = ImageSet.from_pixels(tiny.pixels(3), captions=["red cat", "dog", "red dog"])


@dataclasses.dataclass(frozen=True)
class Family:
    """One verb's methods."""

    models: Callable[[Path], tuple[Any, ...]]
    """Tiny models for a call, made from a folder; a table where the verb reads one."""
    call: Callable[[Any, tuple[Any, ...], Run], Any]
    numbers: Callable[[Any], Numbers]
    """All that a result says, as tensors."""
    stored: Callable[[Any, Path], tuple[Numbers, Numbers]]
    """What a result says, and what its saved files say, of the same things."""


ANOTHER = "another"
"""Folder of a fine-tune beside the base, for settings that name further models."""
Examined = LatentDiffusion | TarFlow | Table | RecordTable | ImageSet | list[Original]
"""What a method must leave as it was."""


def parts(model: Examined) -> dict[str, torch.nn.Module]:
    if isinstance(model, Table | RecordTable | ImageSet | list):
        return {}
    return {"flow": model} if isinstance(model, TarFlow) else model.parts


def weights(model: Examined) -> Numbers:
    if isinstance(model, list):
        return {one.name: torch.from_numpy(one.pixels.copy()) for one in model}
    if isinstance(model, ImageSet):
        return {"pixels": model.pixels}
    if isinstance(model, RecordTable):
        return {name: torch.from_numpy(codes.copy()) for name, codes in model.codes.items()}
    if isinstance(model, Table):
        return {"values": torch.from_numpy(model.values.copy())}
    return {f"{name}.{key}": t for name, part in parts(model).items() for key, t in part.state_dict().items()}


def _warm(model: LatentDiffusion) -> LatentDiffusion:
    """After one prompt: transformers hangs hooks of its own on a text encoder when it is first called."""
    with torch.no_grad():
        model.embed([""])
    return model


def _base(folder: Path) -> tuple[LatentDiffusion, ...]:
    return (_warm(load_model(tiny.sd_folder(folder / "base"))),)


def _base_beside_another(folder: Path) -> tuple[LatentDiffusion, ...]:
    """A base, with a fine-tune of it in its folder that settings may name."""
    found = _base(folder)
    tiny.fine_tune_folder(folder / "base", folder / ANOTHER)
    return found


def _suspect_and_base(folder: Path) -> tuple[LatentDiffusion, ...]:
    (base,) = _base(folder)
    suspect = base.copy()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in suspect.parts["denoiser"].parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    suspect.save(folder / "suspect")
    return _warm(load_model(folder / "suspect")), base


def _tune(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    return method(*models, TrainingSet(PICTURES), run=run, watch=Watch(checkpoint_every=1, sample_count=0))


def _learned(tuned: Any) -> Numbers:
    if tuned.adapter is None:
        return {"losses": tuned.losses, **weights(tuned.model)}
    return {"losses": tuned.losses, **_layers(tuned.adapter)}


def _layers(adapter: LoRA) -> Numbers:
    return {
        f"{part}.{path}.{name}": value.detach()
        for part, path, layer in adapter.items()
        for name, value in (("down", layer.down), ("up", layer.up))
    }


def _reloaded(tuned: Any, folder: Path) -> tuple[Numbers, Numbers]:
    saved = tuned.save(folder)
    if tuned.adapter is None:
        return weights(tuned.model), weights(load_model(saved))
    return _layers(tuned.adapter), _layers(LoRA.read(saved))


def _audit(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    further = {"similarity": load_similarity("ssim")} if method.uses_similarity else {}
    return audited(method, *models, PICTURES, prompt="red cat", run=run, **further)


def _found(result: Any) -> Numbers:
    return {"scores": result.scores, **result.signals, **result.pictures}


def _table(result: Any, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    rows = list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))
    assert tuple(row.pop("name") for row in rows) == result.names
    read = {column: torch.tensor([float(row[column]) for row in rows]) for column in rows[0]}
    return {"score": result.scores, **result.signals}, read


def _ask(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    tuned, base = models
    return method(tuned, ("red cat", "dog"), base=base, run=run)


def _asked(result: PromptScores) -> Numbers:
    shares = {f"words {place}": torch.tensor(row) for place, row in enumerate(result.shares)}
    return {"scores": result.scores, **result.signals, **shares}


def _asked_file(result: PromptScores, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = PromptScores.load(folder)
    assert stored is not None
    assert stored.prompts == result.prompts
    return _asked(result), _asked(stored)


def _sources(folder: Path) -> tuple[Any, ...]:
    """Two sources, pictures of the second to attribute, and a model."""
    pictures = (*(attribution_scenes.planted(k, 8) for k in (0, 1)), attribution_scenes.planted(1, 4, seed=1))
    return *pictures, *_base(folder)


def _attribute(method: Any, models: tuple[Any, ...], run: Run) -> SourceScores:
    one, two, asked, model = models
    own = {"one": model} if method.needs_models else {}
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        fitted = method.fit({"one": one, "two": two}, models=own, run=run)
    return attribute_pictures(method, fitted, asked, models=own, rate=0.7, run=run)


def _attributed(result: SourceScores) -> Numbers:
    return {"posterior": result.log_posterior, "knownness": result.knownness, "p": result.p}


def _attributed_file(result: SourceScores, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = SourceScores.load(folder)
    assert stored is not None
    assert stored.figures() == result.figures()
    return _attributed(result), _attributed(stored)


def _known_and_asked(folder: Path) -> tuple[ImageSet, ...]:
    return inference_scenes.pictures(12), inference_scenes.pictures(4, seed=4)


def _check_answers(method: Any, models: tuple[ImageSet, ...], run: Run) -> CheckedAnswers:
    known, asked = models
    service = inference_scenes.service()
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        fitted = method.fit(service, inference_scenes.HEAD, known, run=run)
    answers = probabilities(service, inference_scenes.HEAD, asked.pixels, 4)
    return check_results(method, fitted, asked, answers.flip(0), rate=0.3, run=run)


def _checked(result: CheckedAnswers) -> Numbers:
    return {name: getattr(result, name) for name in ("scores", "p", "answers", "student", "repaired")}


def _checked_file(result: CheckedAnswers, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = CheckedAnswers.load(folder)
    assert stored is not None
    assert stored.figures() == result.figures()
    assert len(list(csv.DictReader((folder / "checked_answers.csv").read_text().splitlines()))) == len(result.names)
    return _checked(result), _checked(stored)


def _given_drawings(folder: Path) -> tuple[ImageSet, ...]:
    return (inference_scenes.pictures(8),)


def _check_drawings(method: Any, models: tuple[ImageSet, ...], run: Run) -> CheckedDrawings:
    (images,) = models
    drawn = dict(zip(images.names, images.pixels.flip(0), strict=True))
    return method(images, drawn.__getitem__, run=run)


def _checked_drawings(result: CheckedDrawings) -> Numbers:
    rows = [(float(one.name), one.distance) for one in result.drawings]
    return {"drawings": torch.tensor(rows, dtype=torch.float64)}


def _checked_drawings_file(result: CheckedDrawings, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = CheckedDrawings.load(folder)
    assert stored == result
    assert len(list(csv.DictReader((folder / "checked_drawings.csv").read_text().splitlines()))) == len(result.drawings)
    return _checked_drawings(result), _checked_drawings(stored)


def _share(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> ComponentShares:
    """Among a fine-tune's weights and two words."""
    suspect, base = models
    components = {"tuned": TunedWeights(suspect), "red": AddedWords(" red"), "dog": AddedWords(" dog")}
    drawing = Drawing(base, ("a", "cat"), 1.0)
    encoder = load_similarity("embedded")
    return audit_components(method, drawing, components, PICTURES, encoder, steps=2, shown=1, run=run)


def _shared(result: ComponentShares) -> Numbers:
    rows = [[value for name, value in row.items() if name != "component"] for row in result.rows()]
    told = torch.tensor([[float("nan") if value is None else value for value in row] for row in rows])
    values = torch.tensor([[coalition, value] for coalition, value in result.values.items()])
    return {"effects": told[:, :3].nan_to_num(), "values": values, "total": torch.tensor(result.total)}


def _shares_file(result: ComponentShares, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = ComponentShares.load(folder)
    assert stored == result
    rows = list(csv.DictReader((folder / "components.csv").read_text().splitlines()))
    assert [(row["component"], float(row["effect"])) for row in rows] == [
        (row["component"], row["effect"]) for row in result.rows()
    ]
    return _shared(result), _shared(stored)


def _teach(method: Any, models: tuple[()], run: Run) -> PrivateClassifier:
    return method(private_scenes.small_classifier(), "x", private_scenes.classes(3), run=run).judged(
        private_scenes.classes(2, seed=1)
    )


def _taught(result: PrivateClassifier) -> Numbers:
    judged = [[one.pictures, one.right] for one in result.record.judged]
    return {**result.classifier.state_dict(), "judged": torch.tensor(judged)}


def _taught_file(result: PrivateClassifier, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = PrivateRecord.load(folder)
    assert stored == result.record
    again = PrivateClassifier(load_classifier(folder / "classifier.safetensors"), stored)
    halved = {name: one.half().float() if one.dim() > 1 else one for name, one in _taught(result).items()}
    return {**halved, "judged": _taught(result)["judged"]}, _taught(again)


def _records(folder: Path) -> tuple[RecordTable, ...]:
    return (synthetic_records(6, 3),)


def _attack(method: Any, models: tuple[RecordTable, ...], run: Run) -> QueryGuesses:
    return attack_records(method, *models, SECRET, attribute_names(3), engine=StickyNoise(), records=6, run=run)


def _guessed(result: QueryGuesses) -> Numbers:
    frame = result.to_frame().reset_index()
    return {name: torch.tensor(column.to_numpy(dtype=float)) for name, column in frame.items()}


def _guesses_file(result: QueryGuesses, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = QueryGuesses.load(folder)
    assert stored is not None
    assert stored.figures() == result.figures()
    return _guessed(result), _guessed(stored)


def _influence(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> InfluenceScores:
    """Of all pictures on the second of them, and on one that is not among them."""
    (model,) = models
    other = ImageSet.from_pixels(tiny.pixels(1, seed=9), ["other"])
    train = Examples.of(model, PICTURES, ["red cat", "dog", "red dog"])
    asked = Examples.of(model, other, ["cat"])
    own = Examples.of(model, PICTURES[[1]], ["dog"])
    images = ImageSet.from_pixels(torch.cat([PICTURES.pixels[[1]], other.pixels]))
    queries = Examples(images, (*own.prompts, *asked.prompts), torch.cat([own.latents, asked.latents]))
    return method(model, train, queries, run=run)


def _influences(result: InfluenceScores) -> Numbers:
    return {"tau": result.tau}


def _influences_file(result: InfluenceScores, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = InfluenceScores.load(folder)
    assert stored is not None
    assert stored.to_dict() == result.to_dict()
    rows = list(csv.DictReader((folder / "influence.csv").read_text().splitlines()))
    assert [(row["query"], row["example"]) for row in rows] == [(row["query"], row["example"]) for row in result.rows()]
    assert [float(row["tau"]) for row in rows] == [row["tau"] for row in result.rows()]
    return _influences(result), _influences(stored)


def _select(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Selection:
    """Of three candidates, for two pictures."""
    (model,) = models
    other = ImageSet.from_pixels(tiny.pixels(2, seed=9), ["other", "further"])
    pool = Examples.of(model, PICTURES, ["red cat", "dog", "red dog"])
    return method(model, pool, Examples.of(model, other, ["cat", "dog"]), run=run)


def _selected(result: Selection) -> Numbers:
    return {"scores": result.scores, "places": torch.tensor(result.places), "weights": torch.tensor(result.weights)}


def _selected_file(result: Selection, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = Selection.load(folder)
    assert stored is not None
    assert stored.to_dict() == result.to_dict()
    rows = list(csv.DictReader((folder / "selection.csv").read_text().splitlines()))
    assert [(row["candidate"], float(row["weight"])) for row in rows] == [
        (row["candidate"], row["weight"]) for row in result.rows()
    ]
    return _selected(result), _selected(stored)


CONCEPT = Concept(("red cat", "red"), ("cat", "dog"), ("a dog",))


def _unlearn(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Unlearned:
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        concept, pictures = given(method, CONCEPT)
        return method(*models, concept, **pictures, run=run)


def _forgotten(found: Unlearned) -> Numbers:
    return dict(found.model.denoiser.state_dict())


def _forgotten_folder(found: Unlearned, folder: Path) -> tuple[Numbers, Numbers]:
    read = load_model(found.save(folder))
    assert UnlearningRecord.load(folder) == found.record
    assert read.fingerprint == found.model.fingerprint == found.record.changed
    assert found.record.fingerprint in (folder / "README.md").read_text()
    return _forgotten(found), dict(read.denoiser.state_dict())


def _attack_unlearned(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> UnlearnAttacks:
    """By a judge that takes about one picture in five, whatever it is drawn with."""
    changed, original = models

    def judge(pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.double().sum((1, 2, 3)) * 1e3).floor() % 5 == 0

    return method(changed, ("red cat", "dog", "cat"), judge, original=original, run=run)


def _tries(result: UnlearnAttacks) -> Numbers:
    rows = [(one.unattacked, one.success or 0, one.seed, sum(one.ids)) for one in result.prompts]
    return {"tries": torch.tensor(rows, dtype=torch.float64)}


def _tries_file(result: UnlearnAttacks, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = UnlearnAttacks.load(folder)
    assert stored == result
    return _tries(result), _tries(stored)


def _extract(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    return method(*models, prompts=("red cat",), similarity=load_similarity("embedded"), run=run)


def _drawn(result: Any) -> Numbers:
    rows = {key: torch.tensor([row[key] for row in result.rows()]) for key in FIND_NUMBERS}
    return {"pictures": result.pictures.pixels, "descriptors": result.descriptors, "scores": result.scores, **rows}


def _finds(result: Any, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    rows = list(csv.DictReader((folder / "finds.csv").read_text().splitlines()))
    read = {key: torch.tensor([float(row[key] or "nan") for row in rows]) for key in FIND_NUMBERS}
    pictures = ImageSet.load(folder / "pictures", tiny.RESOLUTION)
    assert pictures.names == result.pictures.names
    found = _drawn(result)
    return {key: found[key] for key in (*read, "pictures")}, {**read, "pictures": pictures.pixels}


def _flow(folder: Path) -> tuple[TarFlow, ...]:
    save_flow(tiny.flow(double=False, noise_std=0.1), folder / "flow")
    return (load_flow(folder / "flow").model,)


def _decode(method: Any, models: tuple[TarFlow, ...], run: Run) -> Any:
    return sample_flow(*models, range(3), method, labels=torch.tensor([0, 1, -1]), run=run)


def _decoded(result: Any) -> Numbers:
    return {"pictures": result.pictures.pixels, "patches": result.patches}


def _pictures(result: Any, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = ImageSet.load(folder / "pictures", result.pictures.pixels.shape[-1])
    passes = [float(row["passes"]) for row in csv.DictReader((folder / "blocks.csv").read_text().splitlines())]
    found = {
        "pictures": to_uint8(result.pictures.pixels),
        "passes": torch.tensor([b.passes for b in result.report.blocks]),
    }
    return found, {"pictures": to_uint8(stored.pixels), "passes": torch.tensor(passes)}


def _table_of_numbers(folder: Path) -> tuple[Table, ...]:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 60))
    third = first + second + 0.3 * random.normal(size=60)
    columns = [first, second, third, third + 0.4 * random.normal(size=60), random.normal(size=60)]
    (folder / "table.csv").write_text(
        "\n".join(["a,b,c,d,e", *(",".join(map(repr, row)) for row in np.stack(columns, 1).tolist())]) + "\n"
    )
    return (Table.load(folder / "table.csv"),)


def _discover(method: Any, models: tuple[Table, ...], run: Run) -> Discovery:
    return method(*models, run=run)


def _believed(result: Discovery) -> Numbers:
    known = {name: getattr(result, name) for name in ARRAYS if getattr(result, name) is not None}
    numbers = {name: torch.from_numpy(value.copy()) for name, value in known.items()}
    return {**numbers, "graph": torch.from_numpy(result.graph.marks.copy())}


def _graph(result: Discovery, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    return _believed(result), _believed(Discovery.load(folder))


def _base_and_pictures(folder: Path) -> tuple[Any, ...]:
    (folder / "pictures").mkdir(parents=True)
    return (*_base(folder), originals(folder / "pictures", ((16, 16), (16, 20))))


def _protect(method: Any, models: tuple[Any, ...], run: Run) -> Any:
    model, pictures = models
    folder = run.folder or Path(tempfile.mkdtemp())
    return protect(method, model, pictures, folder / "protected", prompt="red cat", run=run)


def _given_back(result: Any) -> Numbers:
    rows = {key: torch.tensor([row[key] for row in result.rows()]) for key in CHANGE_NUMBERS}
    files = {one.name: read_original(result.folder / one.saved, one.saved).pixels for one in result.pictures}
    return {**rows, **{name: torch.from_numpy(pixels.copy()) for name, pixels in files.items()}}


def _changes(result: Any, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    return _given_back(result), _given_back(ProtectionResult.load(folder))


CHANGE_NUMBERS = ("largest_difference", "psnr", "ssim", "objective_before", "objective_after")
FIND_NUMBERS = ("seed", "size", "cohesion", "lowest", "apart", "gap", "score")


def _train_part(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    if others := getattr(method, "others", ()):
        (base,) = models
        assert base.source is not None
        method = dataclasses.replace(method, others=tuple(base.source.parent / path for path in others))
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        return method(*models, learnt_from(method, *models), run=run)


def learnt_from(trainer: Any, model: LatentDiffusion) -> Any:
    """What a trainer of a part of sampling is given: prompts, or pictures with captions."""
    return CaptionedLatents.of_pictures(model, PICTURES) if isinstance(trainer, PictureTrainer) else ("red cat", "dog")


def _part(part: Any) -> Numbers:
    return dict(part.tensors)


def _part_file(part: Any, folder: Path) -> tuple[Numbers, Numbers]:
    part.save(folder / "part.safetensors")
    tensors, about = read_state(folder / "part.safetensors")
    assert {name: about[name] for name in ("trainer", "model", "settings", "facts", "hash")} == {
        "trainer": part.trainer,
        "model": part.model,
        "settings": part.settings,
        "facts": part.facts,
        "hash": part.hash,
    }
    return _part(part), dict(tensors)


def _distil(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    latents = torch.randn(5, *_latent_shape(models[0]), generator=torch.Generator().manual_seed(0))
    captions = ("red cat", "dog", "red dog", "cat", "")
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        return method(*models, DistillationSet(latents, captions, "planted latents"), run=run)


def _latent_shape(model: LatentDiffusion) -> tuple[int, int, int]:
    side = model.resolution // model.factor
    return model.latent_channels, side, side


def _student(found: Any) -> Numbers:
    return dict(found.model.denoiser.state_dict())


def _student_folder(found: Any, folder: Path) -> tuple[Numbers, Numbers]:
    read = load_model(found.save(folder))
    assert (read.sampling, read.fingerprint) == (found.model.sampling, found.model.fingerprint)
    assert found.fingerprint in (folder / "README.md").read_text()
    return _student(found), dict(read.denoiser.state_dict())


def _shrink(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    tuned, base = models
    rows = planted_rows(shape=_latent_shape(tuned)) if method.calibrated else None
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        return method(tuned, rows, base=base if method.on_base else None, run=run)


def _smaller(found: Any) -> Numbers:
    return {f"{part}.{key}": t for part in found.packed for key, t in found.model.parts[part].state_dict().items()}


def _smaller_folder(found: Any, folder: Path) -> tuple[Numbers, Numbers]:
    on_base = found.packing.on is not None
    read = load_model(found.save(folder), like=tiny.sd_folder(folder.with_name("base")) if on_base else None)
    assert read.same_weights(found.model)
    if found.packed["denoiser"]:
        assert read.packing["denoiser"].base == found.packing.base
        assert (folder / "model" / "unet" / "intaglio_packed.safetensors").stat().st_size >= found.bytes
    return _smaller(found), {
        f"{part}.{key}": t for part in found.packed for key, t in read.parts[part].state_dict().items()
    }


def _base_and_fine_tunes(folder: Path) -> tuple[LatentDiffusion, ...]:
    (base,) = _base(folder)
    return (base, *map(_warm, merge_scenes.fine_tunes(base, 2)))


def _merge(method: Any, models: tuple[LatentDiffusion, ...], run: Run) -> Any:
    base, *tuned = models
    judged = picture_samples(base, PICTURES.pixels, [caption or "" for caption in PICTURES.captions], 2, 0)
    return method(tuned, base, judged=judged, run=run)


def _merged(found: Any) -> Numbers:
    shares = [row["share"] for row in found.rows if "share" in row]
    return {"shares": torch.tensor(shares), **weights(found.model)}


def _merged_folder(found: Any, folder: Path) -> tuple[Numbers, Numbers]:
    read = load_model(found.save(folder))
    assert read.fingerprint == found.model.fingerprint
    card = (folder / "README.md").read_text()
    assert all(row["fingerprint"] in card for row in found.rows)
    return weights(found.model), weights(read)


def _base_and_blocks(folder: Path) -> tuple[Any, ...]:
    (folder / "pictures").mkdir(parents=True)
    return (*_base(folder), originals(folder / "pictures", ((24, 32), (32, 24), (33, 40))))


def _mark(method: Any, models: tuple[Any, ...], run: Run) -> MarkedPictures | MarkedModel:
    model, pictures = models
    folder, key = (run.folder or Path(tempfile.mkdtemp())) / "marked", MarkKey.of_seed(0)
    if method.carrier == "pixels":
        return mark_pictures(method, pictures, folder, key, user=1, run=run)
    if method.carrier == "weights":
        # By the clock no state of so short a training is saved.
        with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
            return mark_model(method, model, PICTURES, folder, key, user=1, run=run)
    about = {"user": 1, "steps": 2, "guidance_scale": 2.0, "batch": 2, "run": run}
    return draw_marked(method, model, ("red cat", "dog", "red dog"), (3, 4, 5), folder, key, **about)


def _marks(result: MarkedPictures | MarkedModel) -> Numbers:
    if isinstance(result, MarkedModel):
        return {**_marks(result.marks), **result.model.autoencoder.state_dict()}
    rows = {key: torch.tensor([row[key] or 0.0 for row in result.rows()]) for key in ("p", "bits", "psnr")}
    files = {one.name: read_original(result.folder / one.saved, one.saved).pixels for one in result.pictures}
    return {**rows, **{name: torch.from_numpy(pixels.copy()) for name, pixels in files.items()}}


def _marks_file(result: MarkedPictures | MarkedModel, folder: Path) -> tuple[Numbers, Numbers]:
    if isinstance(result, MarkedModel):
        read = load_model(result.save(folder))
        assert read.fingerprint == result.model.fingerprint
        assert result.fingerprint in (folder / "README.md").read_text()
        found, stored = _marks_file(result.marks, folder)
        return {**found, **result.model.autoencoder.state_dict()}, {**stored, **read.autoencoder.state_dict()}
    result.save(folder)
    stored = MarkedPictures.load(folder)
    assert stored == result
    return _marks(result), _marks(stored)


def _explain(method: Any, models: tuple[Any, ...], run: Run) -> Attributions:
    return method(explain_scenes.untrained(), explain_scenes.pictures(3), [0, 1, 2], run=run)


def _explained(found: Attributions) -> Numbers:
    rows = [[one.score, *dataclasses.astuple(one.faithful)] for one in found.pictures]
    return {"maps": found.maps, "regions": found.regions, "rows": torch.tensor(rows)}


def _explained_file(found: Attributions, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _explained(found), _explained(Attributions.load(folder))


def _find_concepts(method: Any, models: tuple[Any, ...], run: Run) -> Concepts:
    return method(explain_scenes.untrained(), explain_scenes.coloured(4), 1, run=run)


def _concepts(found: Concepts) -> Numbers:
    rows = [[one.importance, *one.interval, *(example[-1] for example in one.examples)] for one in found.concepts]
    views = found.shown()
    parts = [[one.spread or 0.0, one.spread_left or 0.0, *(part.share for part in one.parts)] for one in found.concepts]
    maps = {f"maps {label}": one.maps for label, one in views}
    directions = {f"part {label}": one.direction for label, one in views if isinstance(one, ConceptPart)}
    parted = {f"parts {number}": torch.tensor(one) for number, one in enumerate(parts)}
    return {"bank": found.bank, "rows": torch.tensor(rows), **maps, **parted, **directions}


def _concepts_file(found: Concepts, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _concepts(found), _concepts(Concepts.load(folder))


def _learn_effects(method: Any, models: tuple[Any, ...], run: Run) -> UnitEffects:
    return method(cate_scenes.planted(60, 0)[0], run=run)


def _unit_effects(found: UnitEffects) -> Numbers:
    estimates = [one for name in ("mean", "autoc", "qini", "slope") for one in vars(getattr(found, name)).values()]
    rows = {"effects": found.effects, "scores": found.scores, "estimates": np.array(estimates)}
    return {name: torch.from_numpy(one) for name, one in rows.items()}


def _unit_effects_file(found: UnitEffects, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _unit_effects(found), _unit_effects(UnitEffects.load(folder))


def _transfer(method: Any, models: tuple[Any, ...], run: Run) -> TransferPredictions:
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        return method(transfer_scenes.planted(12, 0)[0], "far", run=run)


def _transferred(found: TransferPredictions) -> Numbers:
    stages = {name: torch.from_numpy(one) for name, one in found.stages.items()}
    told = [one.accuracy for one in found.left_out] + list(found.agreement.values())
    return {**stages, "truth": torch.from_numpy(found.truth), "told": torch.tensor(told)}


def _transferred_file(found: TransferPredictions, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = TransferPredictions.load(folder)
    assert (stored.left_out, stored.statement, stored.warnings) == (found.left_out, found.statement, found.warnings)
    return _transferred(found), _transferred(stored)


def _debias(method: Any, models: tuple[Any, ...], run: Run) -> DebiasedEffects:
    treated = np.arange(12) % 2 == 0
    return method(debias_scenes.berkson(120), debias_scenes.trials(np.linspace(-1, 1, 12), treated), run=run)


def _effects(found: DebiasedEffects) -> Numbers:
    return {"effects": torch.tensor([[one.effect, *one.interval] for one in found.effects], dtype=torch.float64)}


def _effects_file(found: DebiasedEffects, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _effects(found), _effects(DebiasedEffects.load(folder))


def _map_words(method: Any, models: tuple[Any, ...], run: Run) -> WordMaps:
    return method(*models, "red cat", 3, run=run)


def _words(found: WordMaps) -> Numbers:
    return {"maps": found.maps, "effects": found.effects, "seeds": torch.tensor(found.seeds)}


def _words_file(found: WordMaps, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _words(found), _words(WordMaps.load(folder))


def _patch_components(method: Any, models: tuple[Any, ...], run: Run) -> PatchedComponents:
    return method(*models, "red cat", "dog", verify=2, run=run)


def _patched_effects(found: PatchedComponents) -> Numbers:
    told = torch.tensor([found.seeds, found.timesteps])
    checks = {} if found.checks is None else {"exact": found.checks.exact, "joint": found.checks.joint}
    return {"effects": found.effects, "told": told, "distances": torch.tensor(found.distances), **checks}


def _patched_effects_file(found: PatchedComponents, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _patched_effects(found), _patched_effects(PatchedComponents.load(folder))


def _find_paths(method: Any, models: tuple[Any, ...], run: Run) -> ClassGraph:
    return method(explain_scenes.chained(), explain_scenes.reds(), 0, run=run)


def _found_paths(found: ClassGraph) -> Numbers:
    told = torch.tensor([[found.shares[name], found.scores[name]] for name in found.shares])
    edges = torch.tensor([dataclasses.astuple(one) for one in found.edges])
    return {"effects": found.effects, "q": found.q, "kept": found.kept, "told": told, "edges": edges}


def _found_paths_file(found: ClassGraph, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _found_paths(found), _found_paths(ClassGraph.load(folder))


def _repair(method: Any, models: tuple[Any, ...], run: Run) -> Repair:
    return method(explain_scenes.marked_chain(), *explain_scenes.marked_reds(), column="green", run=run)


def _repaired(found: Repair) -> Numbers:
    told = found.result
    numbers = torch.tensor(
        [told.gap.before, told.gap.after, told.gap.p, told.offset, told.share, *told.worst, *told.gain_interval]
    )
    answers = torch.tensor([told.cells, told.before, told.after])
    effects = torch.tensor([one[2] for one in told.cut])
    return {"answers": answers, "told": numbers, "effects": effects, **found.network.state_dict()}


def _repaired_file(found: Repair, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = RepairedClassifier.load(folder)
    assert stored is not None
    return _repaired(found), _repaired(Repair(stored, load_classifier(folder / NETWORK)))


def _fit_surrogate(method: Any, models: tuple[Any, ...], run: Run) -> SurrogateRules:
    return method(surrogate_scenes.small(), run=run)


def _surrogate(found: SurrogateRules) -> Numbers:
    fidelity, counts = dataclasses.astuple(found.fidelity), [[one.fitted, one.rows, one.right] for one in found.rules]
    told = [*fidelity, found.forest, found.ceiling, found.agreement, *(one.distance for one in found.counterfactuals)]
    return {**found._parts()[0], "counts": torch.tensor(counts), "told": torch.tensor(told)}


def _surrogate_file(found: SurrogateRules, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _surrogate(found), _surrogate(SurrogateRules.load(folder))


def _explain_points(method: Any, models: tuple[Any, ...], run: Run) -> ExplainedPoints:
    return method(series_scenes.small(40, 5.0), run=run)


def _points(found: ExplainedPoints) -> Numbers:
    return dict(found._parts()[0])


def _points_file(found: ExplainedPoints, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _points(found), _points(ExplainedPoints.load(folder))


def _sharpen(method: Any, models: tuple[Any, ...], run: Run) -> SharpenedEncoder:
    images, latents, _ = sharpening_scenes.blue_pictures(20)
    return method(sharpening_scenes.blind_encoder(), images, latents, run=run)


def _sharpened(found: SharpenedEncoder) -> Numbers:
    return dict(found._parts()[0])


def _sharpened_file(found: SharpenedEncoder, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _sharpened(found), _sharpened(SharpenedEncoder.load(folder))


def _map_collection(method: Any, models: tuple[Any, ...], run: Run) -> CollectionMap:
    images = explain_scenes.pictures(7)
    labels = LabelColumn.of("kind", ["a", "b", "a", "b", "", "a", "b"], ["a", "b", "b", "", "a", "a", "b"])
    return method(LayerFeatures(explain_scenes.untrained()), images, [labels], run=run)


def _mapped(found: CollectionMap) -> Numbers:
    told = [[one.purity, one.chance, one.p, one.information] for one in found.agreements]
    arrays = {"merges": found.tree.merges, "heights": found.tree.heights, "told": np.array(told)}
    arrays |= {f"{one.name} {k}": codes for one in found.labels for k, codes in enumerate((one.codes, one.predicted))}
    shown = {"tiles": found.tiles, "medoids": (*found.tile_medoids, *found.box_medoids)}
    names = {"names": torch.tensor([int(name) for name in found.names])}
    return {
        **{name: torch.from_numpy(one.copy()) for name, one in arrays.items()},
        **{name: torch.tensor(one) for name, one in shown.items()},
        **names,
    }


def _mapped_file(found: CollectionMap, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = CollectionMap.load(folder)
    assert stored is not None
    assert stored.rows() == found.rows()
    return _mapped(found), _mapped(stored)


def _find_slices(method: Any, models: tuple[Any, ...], run: Run) -> ErrorSlices:
    images, truth = slice_scenes.coloured(40)
    scored = dataclasses.replace(explain_scenes.untrained(), classes=("yes", "no", "else"))
    return method(scored, LayerFeatures(scored), images, truth, run=run)


def _slices(found: ErrorSlices) -> Numbers:
    rows = [[one.inside, one.errors_inside, one.outside, one.errors_outside, one.p, one.q] for one in found.groups]
    return {"slices": torch.tensor(rows, dtype=torch.float64), "wrong": torch.tensor([found.wrong])}


def _slices_file(found: ErrorSlices, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _slices(found), _slices(ErrorSlices.load(folder))


def _read_kernels(method: Any, models: tuple[Any, ...], run: Run) -> KernelReadings:
    layers = kernel_layers(explain_scenes.classifier())
    return method(layers, kernel_layers(explain_scenes.classifier(1)), run=run)


def _kernels(found: KernelReadings) -> Numbers:
    return {one.name: torch.tensor([*one.figures, one.chance, one.shift or 0.0]) for one in found.layers}


def _kernels_file(found: KernelReadings, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _kernels(found), _kernels(KernelReadings.load(folder))


def _find_directions(method: Any, models: tuple[Any, ...], run: Run) -> Directions:
    return method(*models, ["red cat", "dog"], seeds=(1, 2), judge=direction_judge(), run=run)


def _found_directions(found: Directions) -> Numbers:
    told = torch.tensor([found.numbers, found.agreement])
    return {"shifts": found.shifts, "told": told, "seeds": torch.tensor(found.seeds)}


def _directions_file(found: Directions, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _found_directions(found), _found_directions(Directions.load(folder / DIRECTIONS))


def _find_bias(method: Any, models: tuple[Any, ...], run: Run) -> FoundEdit:
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        return method(*models, ["red cat", "dog"], bias_judge(), run=run)


def _found_bias(found: FoundEdit) -> Numbers:
    told = torch.tensor([found.told, found.left, found.size, found.control_size, *found.counts])
    return {**_edit(found.edit), **{f"control {name}": one for name, one in _edit(found.control).items()}, "told": told}


def _edit(found: SiteEdit | None) -> Numbers:
    assert found is not None
    return {name: one.float() for name, one in found.parts()[0].items()}


def _bias_file(found: FoundEdit, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.edit.save(folder / EDIT)
    return _edit(found.edit), _edit(SiteEdit.load(folder))


def _find_blind_spots(method: Any, models: tuple[Any, ...], run: Run) -> BlindSpots:
    real, generated = explain_scenes.pictures(8).pixels.split(4)
    pairs = PicturedPairs(("a", "b", "c", "d"), {"real": real, "generated": generated, "decoded": real.flip(3)})
    # By the clock no state of so short a training is saved.
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        return method(explain_scenes.untrained(), pairs, run=run)


def _blind_spots(found: BlindSpots) -> Numbers:
    rows = [[one.number, one.delta, one.log_ratio, *one.interval, one.p, one.q, one.control] for one in found.shifts]
    return {**found.sums, "rows": torch.tensor(sorted(rows))}


def _blind_spots_file(found: BlindSpots, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = BlindSpots.load(folder)
    assert (stored.shifts, stored.copied, stored.figures()) == (found.shifts, found.copied, found.figures())
    return _blind_spots(found), _blind_spots(stored)


def _encode_pictures(method: Any, models: tuple[Any, ...], run: Run) -> PictureEncodings:
    images, labels = feature_scenes.labelled()
    return method(models[0], images, {"light": labels["light"]}, run=run)


def _encodings(found: PictureEncodings) -> Numbers:
    return dict(found._parts()[0])


def _encodings_file(found: PictureEncodings, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    return _encodings(found), _encodings(PictureEncodings.load(folder))


def _probe_features(method: Any, models: tuple[Any, ...], run: Run) -> FeatureProbes:
    images, labels = feature_scenes.labelled()
    return method(feature_scenes.networks(models[0]), images, labels, run=run)


def _probes(found: FeatureProbes) -> Numbers:
    rows = {f"predicted {one.column}": torch.from_numpy(one.predicted) for one in found.labels}
    return {**rows, "accuracies": torch.tensor([[row["accuracy"], row["shuffled"]] for row in found.rows()])}


def _probes_file(found: FeatureProbes, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = FeatureProbes.load(folder)
    assert stored.statement == found.statement
    assert stored.warnings == found.warnings
    return _probes(found), _probes(stored)


def _set_attributes(method: Any, models: tuple[Any, ...], run: Run) -> Counterfactuals:
    images, table = attribute_scenes.squares()
    graph, changes = attribute_scenes.GRAPH, {"brightness": 0.5}
    measured = {1: measured_attribute("ink-side", images.pixels, table.values[:, 1])}
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        model = method.learnt(images, table, graph, run=run)
    return counterfactuals(method, model, images, table, graph, range(9), changes, measured, run=run)


def _read_set(found: Counterfactuals) -> Numbers:
    return {name: torch.from_numpy(getattr(found, name)) for name in ("before", "after", "measured")}


def _set_file(found: Counterfactuals, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = Counterfactuals.load(folder)
    assert (stored.statement, stored.warnings) == (found.statement, found.warnings)
    return _read_set(found), _read_set(stored)


def _fit_heads(method: Any, models: tuple[Any, ...], run: Run) -> HeadReadings:
    images, labels = feature_scenes.labelled()
    return method(LayerFeatures(explain_scenes.untrained(), "stages.0"), images, "light", labels["light"], run=run)


def _read_heads(found: HeadReadings) -> Numbers:
    answers = {name: torch.from_numpy(getattr(found, name)) for name in ("predicted", "linear", "sizes", "by_level")}
    gates = torch.tensor([values for _, values in found.head.gates])
    trained = {} if found.tuned is None else found.tuned.parts()[0]
    return {
        **answers,
        **trained,
        "gates": gates,
        "figures": torch.tensor([found.accuracy, found.difference, found.size]),
    }


def _heads_file(found: HeadReadings, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = HeadReadings.load(folder)
    assert (stored.head, stored.statement, stored.warnings) == (found.head, found.statement, found.warnings)
    return _read_heads(found), _read_heads(stored)


def _select_pixels(method: Any, models: tuple[Any, ...], run: Run) -> TaughtSelector:
    images, labels = feature_scenes.labelled()
    with mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save):
        return method(images, "light", labels["light"], run=run)


def _selected_pixels(found: TaughtSelector) -> Numbers:
    answers = {
        name: torch.from_numpy(getattr(found.result, name)) for name in ("predicted", "plain", "second", "areas")
    }
    predictor = {f"predictor {name}": one for name, one in found.taught.predictor.state_dict().items()}
    return answers | {name: one.float() for name, one in predictor.items()}


def _selected_pixels_files(found: TaughtSelector, folder: Path) -> tuple[Numbers, Numbers]:
    folder.mkdir()
    found.save(folder)
    stored = SelectedPixels.load(folder)
    assert (stored.statement, stored.warnings) == (found.result.statement, found.result.warnings)
    read, pixels = load_classifier(folder / PREDICTOR), feature_scenes.labelled()[0].pixels
    told, again = {"masks": torch.from_numpy(found.result.masks)}, {"masks": torch.from_numpy(stored.masks)}
    if found.taught.selector is not None:
        told["selector"], again["selector"] = found.taught.selector(pixels), load_selector(folder / SELECTOR)(pixels)
    told |= {name: one.half().float() for name, one in found.taught.predictor.state_dict().items() if one.dim() > 1}
    return told, again | {name: one for name, one in read.state_dict().items() if one.dim() > 1}


def _certify(method: Any, models: tuple[Any, ...], run: Run) -> CertifiedPictures:
    classifier, _ = certify_scenes.linear(PICTURES.pixels[0], 0.1, levels=method.tells_level)
    return method(classifier, certify_scenes.HEAD, PICTURES, run=run)


def _certified(result: CertifiedPictures) -> Numbers:
    rows = [(one.label, one.most, one.count, -1.0 if one.radius is None else one.radius) for one in result.pictures]
    return {"certificates": torch.tensor(rows, dtype=torch.float64)}


def _certified_file(result: CertifiedPictures, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = CertifiedPictures.load(folder)
    assert stored == result
    assert len(list(csv.DictReader((folder / "certified.csv").read_text().splitlines()))) == len(result.pictures)
    return _certified(result), _certified(stored)


def _purify(method: Any, models: tuple[Any, ...], run: Run) -> PurifiedPictures:
    model, pictures = models
    folder = (run.folder or Path(tempfile.mkdtemp())) / "purified"
    return purify_pictures(method, pictures, folder, model=model if method.uses_model else None, run=run)


def _purified(result: PurifiedPictures) -> Numbers:
    rows = {key: torch.tensor([float(row[key] or 0) for row in result.rows()]) for key in ("psnr", "ssim")}
    files = {one.name: read_original(result.folder / one.saved, one.saved).pixels for one in result.pictures}
    return {**rows, **{name: torch.from_numpy(pixels.copy()) for name, pixels in files.items()}}


def _purified_file(result: PurifiedPictures, folder: Path) -> tuple[Numbers, Numbers]:
    result.save(folder)
    stored = PurifiedPictures.load(folder)
    assert stored == result
    return _purified(result), _purified(stored)


FAMILIES = {
    "shrink": Family(_suspect_and_base, _shrink, _smaller, _smaller_folder),
    "finetune": Family(_base, _tune, _learned, _reloaded),
    "authenticate": Family(_suspect_and_base, _audit, _found, _table),
    "audit prompts": Family(_suspect_and_base, _ask, _asked, _asked_file),
    "audit attribution": Family(_sources, _attribute, _attributed, _attributed_file),
    "audit components": Family(_suspect_and_base, _share, _shared, _shares_file),
    "audit queries": Family(_records, _attack, _guessed, _guesses_file),
    "audit inference": Family(_known_and_asked, _check_answers, _checked, _checked_file),
    "audit drawings": Family(_given_drawings, _check_drawings, _checked_drawings, _checked_drawings_file),
    "audit influence": Family(_base, _influence, _influences, _influences_file),
    "audit selection": Family(_base, _select, _selected, _selected_file),
    "audit unlearning": Family(_base, _unlearn, _forgotten, _forgotten_folder),
    "audit unlearn-attack": Family(_suspect_and_base, _attack_unlearned, _tries, _tries_file),
    "extract": Family(_suspect_and_base, _extract, _drawn, _finds),
    "flow sample": Family(_flow, _decode, _decoded, _pictures),
    "protect": Family(_base_and_pictures, _protect, _given_back, _changes),
    "protect certify": Family(lambda folder: (), _certify, _certified, _certified_file),
    "protect private": Family(lambda folder: (), _teach, _taught, _taught_file),
    "protect purify": Family(_base_and_blocks, _purify, _purified, _purified_file),
    "protect fingerprint": Family(_base_and_blocks, _mark, _marks, _marks_file),
    "causal debias": Family(lambda folder: (), _debias, _effects, _effects_file),
    "causal transfer": Family(lambda folder: (), _transfer, _transferred, _transferred_file),
    "causal cate": Family(lambda folder: (), _learn_effects, _unit_effects, _unit_effects_file),
    "explain": Family(lambda folder: (), _explain, _explained, _explained_file),
    "explain collection": Family(lambda folder: (), _map_collection, _mapped, _mapped_file),
    "explain blindspots": Family(lambda folder: (), _find_blind_spots, _blind_spots, _blind_spots_file),
    "explain concepts": Family(lambda folder: (), _find_concepts, _concepts, _concepts_file),
    "explain encodings": Family(_base, _encode_pictures, _encodings, _encodings_file),
    "explain features": Family(_base, _probe_features, _probes, _probes_file),
    "explain counterfactuals": Family(lambda folder: (), _set_attributes, _read_set, _set_file),
    "explain heads": Family(lambda folder: (), _fit_heads, _read_heads, _heads_file),
    "explain selectors": Family(lambda folder: (), _select_pixels, _selected_pixels, _selected_pixels_files),
    "explain bias": Family(_base, _find_bias, _found_bias, _bias_file),
    "explain components": Family(_base, _patch_components, _patched_effects, _patched_effects_file),
    "explain paths": Family(lambda folder: (), _find_paths, _found_paths, _found_paths_file),
    "explain repair": Family(lambda folder: (), _repair, _repaired, _repaired_file),
    "explain series": Family(lambda folder: (), _explain_points, _points, _points_file),
    "explain sharpening": Family(lambda folder: (), _sharpen, _sharpened, _sharpened_file),
    "explain surrogate": Family(lambda folder: (), _fit_surrogate, _surrogate, _surrogate_file),
    "explain words": Family(_base, _map_words, _words, _words_file),
    "explain directions": Family(_base, _find_directions, _found_directions, _directions_file),
    "explain slices": Family(lambda folder: (), _find_slices, _slices, _slices_file),
    "explain weights": Family(lambda folder: (), _read_kernels, _kernels, _kernels_file),
    "sample train": Family(_base_beside_another, _train_part, _part, _part_file),
    "distill": Family(_base, _distil, _student, _student_folder),
    "merge": Family(_base_and_fine_tunes, _merge, _merged, _merged_folder),
    "discover": Family(_table_of_numbers, _discover, _believed, _graph),
}


class Killed(BaseException):
    """What ends a run at a given step, as a kill would; nothing catches it."""


def breaking(run: Run, at: int, error: type[BaseException] = Killed) -> Run:
    """Let the run raise at the `at`-th step of its progress, counted from 1; 0: never. `run.steps` counts them.

    States are kept whenever a method offers one, so that tiny runs have some.
    """
    shown, save, run.steps = run.progress, run.save_state, 0
    run.save_state = lambda name, tensors, meta, every_s=0: save(name, tensors, meta)

    class Breaking:
        def __init__(self, bar: Any):
            self.bar = bar

        def advance(self, n: int = 1, **numbers: float) -> None:
            run.steps += 1
            if run.steps == at:
                raise error(f"at step {at}")
            self.bar.advance(n, **numbers)

    @contextmanager
    def progress(*args: Any, **kwargs: Any) -> Any:
        with shown(*args, **kwargs) as bar:
            yield Breaking(bar)

    run.progress = progress
    return run


def opened(root: Path, settings: Any) -> AbstractContextManager[Run]:
    """The run of these settings below `root`; the same again for the same settings."""
    inputs = {"model": {"path": "tiny", "sha256": "0" * 64}}
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    return Run.open(root, "verb", "method", dataclasses.asdict(settings), inputs, **about)


def state_of(model: Examined) -> dict[str, Any]:
    """All that a method might leave changed in a model: weights, gradients, modes, types, hooks."""
    state: dict[str, Any] = {"weights": {key: value.clone() for key, value in weights(model).items()}}
    for name, part in parts(model).items():
        for path, module in part.named_modules():
            hooks = [len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks)]
            state[f"{name}.{path}"] = (module.training, type(module).forward, "forward" in vars(module), hooks)
        for path, weight in part.named_parameters():
            state[f"{name}.{path} weight"] = (weight.requires_grad, weight.grad is None, weight.dtype, weight.device)
    return state


def same(one: Any, two: Any) -> bool:
    """Equality to the last bit, through dictionaries of tensors; NaN equals NaN."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one.nan_to_num(nan=1e30), two.nan_to_num(nan=1e30))
    return one == two
