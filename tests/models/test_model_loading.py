import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from intaglio.sampling.loop import sample

LAYOUTS = {"sd": (tiny.sd_folder, StableDiffusionPipeline), "sdxl": (tiny.sdxl_folder, StableDiffusionXLPipeline)}
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    root = tmp_path_factory.mktemp("shipped")
    return {name: build(root / name) for name, (build, _) in LAYOUTS.items()}


@pytest.fixture(params=list(LAYOUTS))
def layout(request):
    return request.param


@pytest.fixture
def folder(shipped, layout, tmp_path):
    return Path(shutil.copytree(shipped[layout], tmp_path / "model"))


@pytest.fixture
def sd(shipped, tmp_path):
    return Path(shutil.copytree(shipped["sd"], tmp_path / "model"))


def test_every_weight_comes_from_the_folder(folder, layout):
    before = torch.random.get_rng_state()
    model = load_model(folder)
    assert torch.equal(before, torch.random.get_rng_state())
    known = LAYOUTS[layout][1].from_pretrained(folder)
    for part, name in {"denoiser": "unet", "autoencoder": "vae", "text_encoder": "text_encoder"}.items():
        mine, theirs = model.parts[part].state_dict(), getattr(known, name).state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert (model.name, model.source, model.notes) == ("model", folder, ())
    assert not any(part.training for part in model.parts.values())


def test_no_socket_is_made_by_loading_and_sampling(folder, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", forbidden)
    assert sample(load_model(folder), ["a red cat"], [0], steps=2).pixels.shape == (1, 3, 16, 16)


def test_nothing_is_said_while_loading(folder, capfd):
    load_model(folder, dtype=torch.float16)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_saved_folders_load_in_diffusers_and_here(layout, prediction, tmp_path):
    build, pipeline = LAYOUTS[layout]
    model = load_model(build(tmp_path / "first", prediction=prediction))
    model.save(tmp_path / "second")
    again = load_model(tmp_path / "second")
    assert again.same_weights(model)
    assert again.differences(model) == []
    assert again.part_fingerprint("autoencoder") == model.part_fingerprint("autoencoder")
    known = pipeline.from_pretrained(tmp_path / "second")
    assert type(DiffusionPipeline.from_pretrained(tmp_path / "second")) is pipeline
    assert known.scheduler.config.prediction_type == prediction
    assert known.tokenizer("a red cat").input_ids == model.tokenizers[0]("a red cat").input_ids
    known.set_progress_bar_config(disable=True)
    drawn = known("a red cat", num_inference_steps=2, height=16, width=16, output_type="pt").images
    assert drawn.shape == (1, 3, 16, 16)
    index = json.loads((tmp_path / "second/model_index.json").read_text())
    first = json.loads((tmp_path / "first/model_index.json").read_text())
    assert {key: index[key] for key in first} == first


def test_saving_replaces_a_model_and_nothing_else(sd, tmp_path):
    model = load_model(sd)
    other = load_model(tiny.sd_folder(tmp_path / "other", seed=9))
    other.save(sd)
    assert load_model(sd).same_weights(other)
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary/today.txt").write_text("dear diary")
    with pytest.raises(BadInput, match="diary exists and holds no model"):
        model.save(tmp_path / "diary")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diary", "model", "other"]


def test_a_save_that_fails_leaves_what_was_there(sd, tmp_path, monkeypatch):
    model = load_model(sd)

    def broken(*args, **kwargs):
        raise RuntimeError("broken")

    monkeypatch.setattr(model.text_encoders[0], "save_pretrained", broken)
    for target in (sd, tmp_path / "fresh"):
        with pytest.raises(RuntimeError, match="broken"):
            model.save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    load_model(sd)


def test_half_precision_files_are_read_as_what_was_asked(layout, tmp_path):
    pipeline = {"sd": tiny.sd_pipeline, "sdxl": tiny.sdxl_pipeline}[layout]().to(torch.float16)
    pipeline.save_pretrained(tmp_path / "plain")
    pipeline.save_pretrained(tmp_path / "variant", variant="fp16")
    assert not (tmp_path / "variant" / UNET).exists()
    models = [load_model(tmp_path / name) for name in ("plain", "variant")]
    assert {model.dtype for model in models} == {torch.float32}
    assert models[0].same_weights(models[1])
    half = load_model(tmp_path / "plain", dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert {weight.dtype for weight in half.autoencoder.parameters()} == {torch.float32}


def test_a_safety_checker_does_not_matter(sd):
    index = json.loads((sd / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (sd / "model_index.json").write_text(json.dumps(index))
    (sd / "safety_checker").mkdir()
    (sd / "safety_checker/pytorch_model.bin").write_bytes(b"\x80\x04never read")
    assert set(load_model(sd).parts) == {"denoiser", "text_encoder", "autoencoder"}


# Parts of a model, on a base


@pytest.mark.parametrize("place", ["unet", "."])
def test_a_unet_alone_takes_the_rest_from_its_base(folder, place, layout, tmp_path):
    tuned = LAYOUTS[layout][0](tmp_path / "tuned", seed=3)
    part = tmp_path / "part"
    shutil.copytree(tuned / "unet", part / place if place == "unet" else part)
    base = load_model(folder)
    model = load_model(part, like=base)
    assert model.part_fingerprint("denoiser") == load_model(tuned).part_fingerprint("denoiser")
    assert model.part_fingerprint("text_encoder") == base.part_fingerprint("text_encoder")
    assert model.text_encoders[0] is not base.text_encoders[0]
    assert "text_encoder" in model.notes[0]
    assert model.notes[0].endswith("taken from model")
    assert model.differences(base) == []
    assert load_model(part, like=folder).same_weights(model)
    with pytest.raises(BadInput, match="part has no vae, scheduler, text_encoder, tokenizer"):
        load_model(part)


def test_a_whole_folder_takes_nothing_from_a_base(sd, tmp_path):
    other = tiny.sd_folder(tmp_path / "other", seed=3)
    assert load_model(other, like=sd).same_weights(load_model(other))
    assert load_model(other, like=sd).notes == ()


def test_a_second_text_encoder_that_is_missing_is_named(shipped, tmp_path):
    folder = Path(shutil.copytree(shipped["sdxl"], tmp_path / "model"))
    shutil.rmtree(folder / "text_encoder_2")
    with pytest.raises(BadInput, match="model has no text_encoder_2;"):
        load_model(folder)
    shutil.rmtree(folder / "tokenizer_2")
    with pytest.raises(BadInput, match="model has no text_encoder_2, tokenizer_2;"):
        load_model(folder)
    assert load_model(folder, like=shipped["sdxl"]).same_weights(load_model(shipped["sdxl"]))


@pytest.fixture
def lora(folder, tmp_path):
    made = LoRA.new(load_model(folder), 2, 2.0, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.normal_(generator=torch.Generator().manual_seed(1))
    made.write(tmp_path / "style.safetensors")
    return tmp_path / "style.safetensors"


def test_a_lora_changes_the_weights_whether_given_as_model_or_beside_it(folder, lora, tmp_path):
    base = load_model(folder)
    print_before = base.fingerprint
    beside, as_model = load_model(folder, lora=lora), load_model(lora, like=base)
    assert beside.same_weights(as_model)
    assert not beside.same_weights(base)
    assert base.fingerprint == print_before
    assert as_model.name == "style"
    assert as_model.source == lora
    assert "style.safetensors" in beside.notes[-1]
    t, words = torch.tensor([500]), base.embed(["dog"])
    # Seeded: for about one draw in forty the rounding of so large a change exceeds the tolerance.
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with LoRA.read(lora).attached(base):
        hooked = base.predict(latents, t, words)
    assert torch.allclose(beside.predict(latents, t, words), hooked, atol=1e-4)
    assert not torch.allclose(base.predict(latents, t, words), hooked, atol=1e-2)
    (tmp_path / "folder").mkdir()
    shutil.copy(lora, tmp_path / "folder/pytorch_lora_weights.safetensors")
    assert load_model(tmp_path / "folder", like=folder).same_weights(beside)
    with pytest.raises(BadInput, match="is a LoRA and no model; give its base"):
        load_model(lora)


def test_a_lora_for_another_base_is_refused(shipped, tmp_path):
    LoRA.new(load_model(shipped["sdxl"]), 2, 2.0, generator=torch.Generator()).write(tmp_path / "xl.safetensors")
    with pytest.raises(BadInput, match=r"xl\.safetensors"):
        load_model(shipped["sd"], lora=tmp_path / "xl.safetensors")


# What cannot be loaded


@pytest.mark.parametrize("name", [UNET, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
def test_a_truncated_file_is_named(sd, name):
    path = sd / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=f"{name}.*truncated"):
        load_model(sd)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=name):
        load_model(sd)


def test_a_gguf_is_told_by_its_first_bytes_and_in_the_folder_of_a_part(sd, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(BadInput, match=r"m\.safetensors is a GGUF file"):
        load_model(tmp_path / "m.safetensors")
    with pytest.raises(BadInput, match=r"m\.safetensors is a GGUF file"):
        load_model(sd, lora=tmp_path / "m.safetensors")
    shutil.copytree(sd, tmp_path / "kept")
    for file in (tmp_path / "kept" / "unet").glob("*.safetensors"):
        file.rename(file.with_suffix(".gguf"))
    with pytest.raises(BadInput, match=r"unet/.*\.gguf is a GGUF file"):
        load_model(tmp_path / "kept")


def test_a_refused_file_names_every_family_that_is_read(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(BadInput, match=r"Stable Diffusion 1, 2 or XL, .*SANA or FLUX\.2 dev"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt"])
def test_pickled_weights_are_refused_with_the_way_out(sd, suffix, tmp_path):
    (sd / UNET).unlink()
    (sd / "unet" / f"diffusion_pytorch_model{suffix}").write_bytes(b"\x80\x04")
    with pytest.raises(BadInput, match=r"unet holds only pickled weights.*safe_serialization=True"):
        load_model(sd)
    single = tmp_path / f"model{suffix}"
    single.write_bytes(b"\x80\x04")
    with pytest.raises(BadInput, match=r"pickled.*convert it to .safetensors"):
        load_model(single)
    (tmp_path / "bag").mkdir()
    single.rename(tmp_path / "bag" / single.name)
    with pytest.raises(BadInput, match="bag holds only pickled weights"):
        load_model(tmp_path / "bag")


@pytest.mark.parametrize("given", ["runwayml/stable-diffusion", "nowhere"])
def test_what_is_not_there_is_never_fetched(given, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="nothing is downloaded" if "/" in given else "there is no model at nowhere"):
        load_model(given)


def test_folders_of_other_kinds(sd, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty holds no model"):
        load_model(tmp_path / "empty")
    (tmp_path / "empty/model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=r"give the file .*model.safetensors itself"):
        load_model(tmp_path / "empty")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadInput, match=r"notes.txt is no model"):
        load_model(tmp_path / "notes.txt")
    other = tmp_path / "other"
    (other / "transformer").mkdir(parents=True)
    (other / "transformer/config.json").write_text('{"_class_name": "OvisImageTransformer2DModel"}')
    with pytest.raises(BadInput, match="holds a 'OvisImageTransformer2DModel' as denoiser, which is not supported"):
        load_model(other)
    (other / "transformer/config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    (other / "model_index.json").write_text('{"_class_name": "FluxKontextPipeline"}')
    with pytest.raises(BadInput, match=r"is of 'FluxKontextPipeline', which takes more than text, or another network"):
        load_model(other)


def rewrite(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_faults_in_a_folder_are_named(sd):
    kept = {name: (sd / name).read_bytes() for name in ("unet/config.json", "scheduler/scheduler_config.json", UNET)}

    def broken(match):
        with pytest.raises(BadInput, match=match):
            load_model(sd)
        for name, content in kept.items():
            (sd / name).write_bytes(content)

    rewrite(sd / "unet/config.json", _class_name="UNet3D")
    broken("unet holds a UNet3D")
    (sd / "unet/config.json").write_text("{")
    broken(r"unet/config.json is no readable JSON")
    (sd / "unet/config.json").unlink()
    broken(r"unet/config.json is missing")
    rewrite(sd / "scheduler/scheduler_config.json", beta_schedule="odd")
    broken("odd")
    rewrite(sd / "unet/config.json", block_out_channels=[8, 12])
    broken("unet")
    weights = load_file(sd / UNET)
    del weights["conv_in.bias"]
    save_file(weights, sd / UNET)
    broken(r"unet lacks 1 weights .*conv_in.bias")
    load_model(sd)


def test_a_model_that_asks_for_more_than_text_is_refused(tmp_path):
    folder = tiny.sd_folder(tmp_path / "inpaint", unet_changes={"in_channels": 9})
    with pytest.raises(BadInput, match=r"inpaint cannot be used: .*inpainting"):
        load_model(folder)
