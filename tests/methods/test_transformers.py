"""Every method on transformers that predict velocities: it runs, or says that it is for U-Nets."""

import re
import tempfile
from dataclasses import astuple
from math import isfinite
from pathlib import Path

import pytest
import torch

import families
import tiny
from families import FAMILIES
from intaglio.adapt.probes import probe
from intaglio.bench.models.random_models import random_pipelines
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample
from intaglio.verbs import VERBS
from rows import MODELLESS, matrix, rows_of, with_paths

BASE = families._base
ROWS = {key: row for key, row in matrix().items() if row.verb not in MODELLESS and key == f"{row.verb} {row.method}"}
"""Every method once, without its variants."""
FIRST = {next(key for key, row in ROWS.items() if row.verb == verb) for verb in {row.verb for row in ROWS.values()}}
"""One method a verb."""
DRAWING = {
    key: row
    for name, entry in VERBS["sample"].methods.items()
    for key, row in rows_of("sample", name, entry).items()
    if key == f"sample {name}"
    and not any(str(value).endswith((".png", ".safetensors")) for value in row.small.values())
}
FOR_UNETS = (
    r"denoises with a U-Net|of a U-Net|is no U-Net|has no layer or module '(down|up)_blocks'|"
    r"no unit that could be removed|can have a predictor|without group norms|"
    r"has no middle block|has no stages to compare"
)
"""Sentences of methods that change or read a U-Net's modules, and of small settings that name some of them."""


class Scene:
    """The models of each verb, made once for each kind of transformer; the base is one for all verbs."""

    def __init__(self):
        self._made, self._bases = {}, {}

    def base(self, kind: str, folder: Path):
        if kind not in self._bases:
            self._bases[kind] = BASE(folder)
        return self._bases[kind]

    def of(self, kind: str, verb: str):
        if (kind, verb) not in self._made:
            with pytest.MonkeyPatch.context() as patched:
                folder_of = random_pipelines.folder_of
                patched.setattr(tiny, "sd_folder", lambda folder, seed=0: folder_of(kind, folder, seed))
                patched.setattr(tiny, "fine_tune_folder", lambda base, folder: folder_of(kind, folder, 1))
                if verb != "sample train":  # which looks for further models beside the base
                    patched.setattr(families, "_base", lambda folder: self.base(kind, folder))
                make = families._base if FAMILIES[verb].models is BASE else FAMILIES[verb].models
                self._made[kind, verb] = make(Path(tempfile.mkdtemp()))
        return self._made[kind, verb]


@pytest.fixture(scope="module")
def scene():
    return Scene()


@pytest.mark.parametrize("key", ROWS)
def test_a_method_runs_on_stable_diffusion_3_or_is_for_unets(key, scene):
    assert finishes(ROWS[key], scene.of("sd3", ROWS[key].verb))


ON_OTHERS = [("flux1-dev", key) for key in sorted(FIRST) if not key.startswith("distill")]
ON_OTHERS += [
    (kind, key)
    for kind in ("zimage", "klein", "pixart-sigma", "chroma", "qwen-image", "lumina2", "auraflow", "sana")
    for key in sorted(FIRST)
    if key[:4] in ("auth", "fine", "dist")
]
ON_OTHERS += [("flux2-dev", key) for key in sorted(FIRST) if key[:4] in ("auth", "fine")]
ON_OTHERS += [("qwen-image", "authenticate update-alignment")]  # its last block has weights that nothing reads
"""One method a verb for FLUX.1, which is distilled already, and some for the others."""


@pytest.mark.parametrize(("kind", "key"), ON_OTHERS)
def test_a_method_runs_on_other_transformers(kind, key, scene):
    assert finishes(ROWS[key], scene.of(kind, ROWS[key].verb))


def finishes(row, models) -> bool:
    """Whether a call gives finite numbers, or is refused for want of a U-Net."""
    family = FAMILIES[row.verb]
    try:
        found = family.numbers(family.call(load(row.target)(**with_paths(row.small)), models, Run.none()))
    except BadInput as error:
        return re.search(FOR_UNETS, str(error)) is not None
    if row.verb == "extract":  # one picture alone has no cohesion
        return bool(found)
    return all(one.isfinite().all() for one in found.values() if one.is_floating_point())


@pytest.mark.parametrize("key", DRAWING)
def test_a_way_to_draw_draws_on_stable_diffusion_3_or_is_for_unets(key, scene):
    (model,) = scene.of("sd3", "finetune")
    method = load(DRAWING[key].target)(**with_paths(DRAWING[key].small))
    try:
        drawn = sample(model, ["a red cat", "dog"], [5, 6], steps=3, guidance_scale=3.0, method=method, negative="red")
    except BadInput as error:
        if not re.search(FOR_UNETS, str(error)):
            raise
        return
    assert drawn.pixels.isfinite().all()


def test_a_distilled_transformer_is_refused_as_a_teacher(scene):
    with pytest.raises(BadInput, match="is distilled already"):
        FAMILIES["distill"].call(load(ROWS["distill mmd"].target)(), scene.of("flux1-dev", "distill"), Run.none())


def test_model_guidance_takes_the_correction_out_of_the_noise_no_further_than_sd1_does():
    """Where the noise is 14.6 times the signal and more, the clean latents move by 14.6 k x / b."""
    from intaglio.sampling.guides.model_guidance import ModelGuidance

    pipe_folder = random_pipelines.folder_of("sd3", Path(tempfile.mkdtemp()) / "m")
    model = load_model(pipe_folder)
    x, k = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).double(), -0.02
    words, blank = model.embed(["red cat"]), model.embed([""])
    with torch.no_grad():
        for t in (999, 990, 500):
            at = torch.tensor([t])
            s = (t + 1) / 1000
            a = max(1 - s, 2.0**-24)
            _, eps = ModelGuidance(model, 3.0, k).step((words, blank), x, at, model.predict)
            plain = -2 * model.clean(x, at, blank) + 3 * model.clean(x, at, words) + k * model.clean(x, at, blank)
            moved = (x - s * eps) / a - plain
            assert torch.allclose(moved, -k * x * min(1 / a, 14.6 / s), rtol=1e-5, atol=1e-5)


def test_a_training_on_stable_diffusion_3_is_probed(scene):
    (model,) = scene.of("sd3", "finetune")
    with torch.no_grad():
        latents, given = model.encode(tiny.pixels(2)), model.embed(["red cat"])
        found = probe(model, latents, given, 0)
    assert all(isfinite(one) for one in astuple(found))
