"""The shared tests of every sampling method; a method joins them by SMALL and BAD in its own test.

A setting that is a file is one of `PICTURES`, or `NAME.safetensors` for the part that the trainer of the same name
makes by the SMALL of its test. One that names further models is `(ANOTHER,)`, a fine-tune of the model at hand.
"""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

import tiny
from elsewhere import moved, watched
from families import ANOTHER, learnt_from, same, state_of
from intaglio.cli import main
from intaglio.commands.kit.source_settings import load, settings_of
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.models.sparse_codes import SparseAutoencoder
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.fitted_sampling import FittedSampling
from intaglio.sampling.loop import nodes_of, sample
from intaglio.sampling.part_sampling import PartSampling
from intaglio.sampling.site_edit import SiteEdit, ValueCodes
from intaglio.verbs import VERBS
from rows import MODELS, flags, rows_of, with_paths

MATRIX = {
    key: row for name, entry in VERBS["sample"].methods.items() for key, row in rows_of("sample", name, entry).items()
}
TRAINERS = {
    key: row
    for name, entry in VERBS["sample train"].methods.items()
    for key, row in rows_of("sample train", name, entry).items()
}
PARTS = {f"{row.method}.safetensors" for row in TRAINERS.values()}
BY_PARTS = {name for name, row in MATRIX.items() if PARTS & {str(value) for value in row.small.values()}}
PROMPTS, SEEDS, STEPS, NEGATIVE = ["a red cat", "dog", "red"], [5, 6, 7], 3, "red dog"
PICTURES = {"4x4.png": 4, "16x16.png": 16}
"""Files that are there while each test runs, and their sides."""
EDIT = "edit.safetensors"
"""An edit of the bottleneck, there too."""
EDITED = torch.tensor([[0], [5]]), torch.tensor([[2.0], [3.0]])
"""Its codes of either value, and what is added to them."""
every_method = pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in MATRIX.items()])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"sd": tiny.sd_folder(root / "sd"), "sdxl": tiny.sdxl_folder(root / "sdxl")}


@pytest.fixture(scope="module")
def models(folders):
    found = {name: load_model(folder) for name, folder in folders.items()}
    for model in found.values():
        model.embed([""])  # transformers hangs hooks on a text encoder when it is first called
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, folders):
    folder = tmp_path_factory.mktemp("pictures")
    for kind, base in folders.items():
        tiny.fine_tune_folder(base, folder / another(kind))
    for name, side in PICTURES.items():
        save_png(torch.rand(3, side, side, generator=torch.Generator().manual_seed(side)), folder / name)
    atoms = torch.eye(16)
    codes = ValueCodes(SparseAutoencoder(1.0, 4, atoms, torch.zeros(16), atoms), *EDITED, "add")
    SiteEdit("mid_block", ("a", "b"), "", codes).save(folder / EDIT)
    return folder


@pytest.fixture(autouse=True)
def beside_the_pictures(pictures, monkeypatch):
    monkeypatch.chdir(pictures)


def another(kind):
    """Name of the folder with a fine-tune of a model of this kind."""
    return ANOTHER if kind == "sd" else f"{ANOTHER}-{kind}"


def files_of(row):
    """Settings of a row that are files, or folders."""
    return {
        name: value
        for name, value in row.small.items()
        if value in PICTURES or value in PARTS or value in (EDIT, (ANOTHER,))
    }


def made(row, model=None, **changes):
    """The method of a row, with its trained part and its further models for a model."""
    kind = "sd" if model is None or len(model.text_encoders) == 1 else "sdxl"
    files = {}
    for name, value in files_of(row).items():
        if value == (ANOTHER,):
            files[name] = (another(kind),)
            continue
        files[name] = path = Path(value)
        if value in PARTS and model is not None:
            files[name] = path if kind == "sd" else path.with_stem(f"{path.stem}-{kind}")
            train(path.stem, model, kind, files[name])
    return load(row.target)(**with_paths({**row.small, **files, **changes}))


def train(name, model, kind, path):
    """Write the part of a trainer for a model, unless it is there."""
    if not path.exists():
        row = TRAINERS[f"sample train {name}"]
        others = {MODELS: (another(kind),)} if MODELS in row.small else {}
        trainer = load(row.target)(**with_paths({**row.small, **others}))
        trainer(model, learnt_from(trainer, model)).save(path)


def drawn(model, row, rows=slice(None), **changes):
    method = made(row, model)
    options = {"steps": STEPS, "negative": NEGATIVE, "method": method, **changes}
    return sample(model, PROMPTS[rows], SEEDS[rows], **options).pixels


@pytest.fixture(scope="module")
def first(models):
    """Pixels and calls of the first drawing of a row by a model, drawn once: tests only read them."""

    found = {}

    def once(row, kind):
        if (row.key, kind) not in found:
            calls = Calls()
            found[row.key, kind] = drawn(models[kind], row, calls=calls), calls
        return found[row.key, kind]

    return once


@every_method
def test_help_names_every_setting(row, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["sample", row.method, "--help"]) == 0
    shown = capsys.readouterr().out
    for field in dataclasses.fields(settings_of(row.target)):
        assert f"--{field.name.replace('_', '-')}" in shown


@every_method
def test_a_bad_setting_is_refused_by_name_before_any_work(row, capsys, monkeypatch):
    monkeypatch.setattr("intaglio.commands.kit.dispatch.check_early", lambda command: None)  # of paths
    if not row.bad:
        assert not dataclasses.fields(load(row.target))
        return
    ((setting, value),) = row.bad.items()
    with pytest.raises(ValueError, match=setting):
        made(row, **row.bad)
    words = flags(row.bad) if isinstance(value, tuple) else [f"--{setting.replace('_', '-')}={value}"]
    assert main(["sample", row.method, "--prompt", "x", "--model", "nowhere", *words]) == 2
    error = capsys.readouterr().err
    assert setting in error
    assert "nowhere" not in error


@every_method
@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_picture_is_its_seeds_whatever_the_batch(row, models, first, kind):
    whole, _ = first(row, kind)
    assert whole.isfinite().all()
    assert whole.std() > 0.01
    assert torch.allclose(drawn(models[kind], row, rows=slice(1, 3), batch=1), whole[1:], atol=2e-3)


@every_method
def test_calls_are_counted_and_planned(row, models, first):
    method, (_, calls) = made(row, models["sd"]), first(row, "sd")
    request = SamplingRequest(models["sd"], PROMPTS, NEGATIVE, 5.0, STEPS, nodes_of("ddim", STEPS))
    planned = method.planned(request).times(len(PROMPTS))
    if isinstance(method, FittedSampling):
        planned += method.planned_fit(request)
    exact = dataclasses.astuple(calls) == dataclasses.astuple(planned)
    fewer = all(c <= p for c, p in zip(dataclasses.astuple(calls), dataclasses.astuple(planned), strict=True))
    assert exact if method.plan_is_exact else fewer
    assert calls.forward > 0


@every_method
def test_the_same_call_gives_the_same_bits_by_the_calls_that_it_counts_and_leaves_the_model(row, models, first):
    """The calls are those of any network of the denoiser's kind, since a trained part may be one."""
    model, seen, calls = models["sd"], [], Calls()
    whole, _ = first(row, "sd")

    def note(module, given, output):
        if isinstance(module, type(model.denoiser)):
            seen.append(len(given[0]))

    before, drawn_before = state_of(model), torch.random.get_rng_state()
    hook = register_module_forward_hook(note)
    try:
        again = drawn(model, row, calls=calls)
    finally:
        hook.remove()
    assert torch.equal(again, whole)
    networks = 1 + len(row.small.get(MODELS, ()))  # each of which is asked as often
    assert sum(seen) * networks == calls.forward
    assert same(state_of(model), before)
    assert torch.equal(torch.random.get_rng_state(), drawn_before)


@every_method
def test_the_model_is_left_as_it_was_found_by_an_error_too(row, models):
    model = models["sd"]
    made(row, model)
    before, drawn_before = state_of(model), torch.random.get_rng_state()
    decode, predict = model.decode, model.predict

    def failing(*args, **options):
        raise RuntimeError("as planned")

    model.predict = failing
    try:
        with pytest.raises(RuntimeError, match="as planned"):
            drawn(model, row)
    finally:
        del model.predict
    assert (model.decode, model.predict) == (decode, predict)
    assert same(state_of(model), before)
    assert torch.equal(torch.random.get_rng_state(), drawn_before)
    assert torch.is_grad_enabled()


@every_method
def test_a_scale_that_the_method_replaces_makes_no_difference(row, models, first):
    whole, _ = first(row, "sd")
    assert torch.equal(drawn(models["sd"], row, guidance_scale=1.0), whole) == made(row, models["sd"]).own_guidance


@every_method
def test_a_command_draws_what_the_library_does_and_replays_it(row, folders, models, first, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--model", str(folders["sd"]), "--prompt", *PROMPTS, "--seed", "5", "--steps", str(STEPS)]
    method = made(row, models["sd"])
    words += ["--negative", NEGATIVE, "--out", str(out), *flags(row.small)]
    assert main(["sample", row.method, *words]) == 0
    shown = capsys.readouterr()
    assert "calls of the denoiser" in shown.err
    whole, _ = first(row, "sd")
    side = method.side(models["sd"])
    found = ImageSet.load(out / "dog-6.png", side)
    assert found.hashes[0] == ImageSet.from_pixels(whole).hashes[1]
    files = files_of(row)
    named = [row.method, *flags(files)] if files else []
    if files:
        assert main(["sample", "--replay", str(out / "dog-6.png")]) == 2
        told = ", ".join(f"--{name}" for name in sorted(files))
        assert f"give {row.method} and {told} beside --replay" in capsys.readouterr().err
    for name, value in files.items():
        if value in PARTS:
            spoilt = tmp_path / value
            spoilt.write_bytes(Path(value).read_bytes() + b" ")
            others = [row.method, *flags({**files, name: str(spoilt)})]
            assert main(["sample", *others, "--replay", str(out / "dog-6.png")]) == 2
            assert f"another file than --{name}" in capsys.readouterr().err
    assert main(["sample", *named, "--replay", str(out / "dog-6.png"), "--out", str(tmp_path / "again")]) == 0
    assert f"all {3 * side**2} values are the same" in capsys.readouterr().out


@every_method
def test_flags_that_it_has_no_use_for_are_refused(row, folders, capsys):
    method = made(row)
    words = ["sample", row.method, "--model", str(folders["sd"]), "--prompt", "dog", *flags(row.small)]
    for flag, value, idle in (("--guidance", "3", method.own_guidance), ("--sampler", "heun", method.own_sampler)):
        if idle:
            assert main([*words, flag, value]) == 2
            assert f"leave {flag} out" in capsys.readouterr().err


@pytest.mark.parametrize("row", [row for row in MATRIX.values() if issubclass(load(row.target), PartSampling)])
def test_a_part_is_asked_for_and_must_be_the_models_own(row, models, folders, capsys):
    made(row, models["sdxl"])
    words = ["sample", row.method, "--model", str(folders["sd"]), "--prompt", "dog"]
    assert main(words) == 2
    assert f"intaglio sample train {row.method}" in capsys.readouterr().err
    assert main([*words, "--part", f"{row.method}-sdxl.safetensors"]) == 2
    assert "another model" in capsys.readouterr().err


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in MATRIX.items() if name not in BY_PARTS])
def test_no_tensor_of_an_accelerator_meets_one_of_the_processor(row, models):
    """The accelerator is none, but refuses what one refuses; what a part's file fills is not tried here."""
    with watched(), moved(models["sd"]):
        found = drawn(models["sd"], row, slice(1), steps=2)  # each operation costs many times what it does elsewhere
    assert found.device.type == "cpu"
    assert found.isfinite().all()
