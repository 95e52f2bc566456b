"""Weights of models: nothing in a file or folder is passed over without a word, and no number is not finite."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from intaglio import cli
from intaglio.denoising.model_pair import check_pair
from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from model_edits import edit, reweigh, single_file, weights

UNET = "diffusion_pytorch_model.safetensors"
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    return tiny.sd_folder(tmp_path_factory.mktemp("shipped") / "model")


@pytest.fixture
def folder(shipped, tmp_path) -> Path:
    return Path(shutil.copytree(shipped, tmp_path / "model"))


def add(folder: Path, **tensors: torch.Tensor) -> Path:
    return reweigh(folder, lambda known: known | tensors)


# Keys that no network takes


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("processor.to_q_lora.down.weight", "a LoRA"),
        ("to_q.lora_A.default.weight", "a LoRA"),
        ("to_q.lora_layer.up.weight", "a LoRA"),
        ("to_q.lora_magnitude_vector.default.weight", "a DoRA"),
        ("to_q.hada_w1_a", "LoHa"),
        ("to_q.lokr_w1", "LoKr"),
        ("to_q.oft_R.default.weight", "an OFT"),
        ("processor.to_k_ip.weight", "IP-Adapter"),
        ("processor.to_v_ip.0.weight", "IP-Adapter"),
        ("to_q.base_layer.weight", "an adapter of PEFT"),
        ("fuser.linear.weight", "GLIGEN"),
        ("to_q.weight_scale", "quantized"),
        ("to_q.weight.absmax", "quantized"),
    ],
)
def test_an_adapter_among_the_weights_is_refused_by_name(folder, ending, words) -> None:
    key = f"down_blocks.0.attentions.0.transformer_blocks.0.attn2.{ending}"
    add(folder / "unet", **{key: torch.ones(4, 8)})
    with pytest.raises(BadInput, match=rf"unet.*{UNET}.*{words}.*{key}"):
        load_model(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_an_unknown_weight_is_told_of_and_such_models_are_never_identical(shipped, folder, part) -> None:
    add(folder / part, **{"odd.weight": torch.ones(3)})
    suspect, base = load_model(folder), load_model(shipped)
    assert any(f"1 weights in {folder / part} are not used (odd.weight)" in note for note in suspect.notes)
    with pytest.raises(BadInput, match=r"1 weights that are not used \(.*odd.weight\)"):
        check_pair(suspect, base)
    with pytest.raises(BadInput, match="identical"):
        check_pair(load_model(shipped), base)


@pytest.mark.parametrize(
    "key", ["text_model.embeddings.position_ids", "logit_scale", "vision_model.post_layernorm.weight"]
)
def test_what_text_encoders_carry_along_is_not_told_of(folder, key) -> None:
    add(folder / "text_encoder", **{key: torch.ones(1)})
    assert load_model(folder).notes == ()


def test_earlier_names_of_weights_are_read(folder, shipped, tmp_path) -> None:
    reweigh(folder / "text_encoder", lambda known: {f"text_model.{key}": tensor for key, tensor in known.items()})
    assert load_model(folder).fingerprint == load_model(shipped).fingerprint
    # Autoencoders of before diffusers 0.12 call their attention otherwise, and some keep it as 1x1 convolutions.
    pipeline = tiny.sd_pipeline()
    pipeline.vae = tiny.autoencoder(mid_block_add_attention=True)
    pipeline.save_pretrained(tmp_path / "old")
    model = load_model(tmp_path / "old")
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

    def older(known):
        for new, old in names.items():
            known = {key.replace(new, old): tensor for key, tensor in known.items()}
        return {key: it[:, :, None, None] if "query.weight" in key else it for key, it in known.items()}

    path = reweigh(tmp_path / "old/vae", older)
    assert any("proj_attn" in key for key in load_file(path))
    assert load_model(tmp_path / "old").fingerprint == model.fingerprint


# Several sets of weights


def beside(folder: Path, name: str, change=lambda it: it) -> None:
    path, tensors = weights(folder)
    save_file({key: change(tensor).contiguous() for key, tensor in tensors.items()}, path.with_name(name))


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("diffusion_pytorch_model.fp16.safetensors", lambda it: it.half(), False),
        ("diffusion_pytorch_model.bf16.safetensors", lambda it: it.bfloat16(), False),
        ("model.safetensors", lambda it: it, False),
        ("diffusion_pytorch_model.fp16.safetensors", lambda it: (1.01 * it).half(), True),
        ("diffusion_pytorch_model.non_ema.safetensors", lambda it: it + 0.001, True),
        ("other.safetensors", lambda it: it + 0.001, True),
    ],
)
def test_other_weights_beside_the_plain_ones_are_told_of(shipped, folder, name, change, told) -> None:
    beside(folder / "unet", name, change)
    model = load_model(folder)
    assert model.same_weights(load_model(shipped)), "the plain ones are used"
    assert len(model.notes) == told
    assert not told or f"also holds {name}, with other weights than {UNET}" in model.notes[0]


def test_a_table_of_positions_makes_no_other_weights(folder) -> None:
    beside(folder / "text_encoder", "model.fp16.safetensors", lambda it: it.half())
    path = folder / "text_encoder/model.safetensors"
    save_file(load_file(path) | {"text_model.embeddings.position_ids": torch.arange(12)[None]}, path)
    assert load_model(folder).notes == ()


@pytest.mark.parametrize("place", [0, 1, 63, 64, 65, -1])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.float64])
def test_one_number_that_differs_is_seen_wherever_it_is(folder, place, precision) -> None:
    def changed(tensor):
        if tensor.shape == (16, 16, 3, 3):
            tensor.view(-1)[place] += 1
        return tensor.to(precision)

    beside(folder / "unet", "diffusion_pytorch_model.fp16.safetensors", changed)
    assert "with other weights" in load_model(folder).notes[0]


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_the_same_weights_in_another_precision_are_not_told_of(folder, precision) -> None:
    beside(folder / "unet", "diffusion_pytorch_model.other.safetensors", lambda it: it.to(precision))
    assert load_model(folder).notes == ()


@pytest.mark.parametrize("rows", [slice(1, None), slice(600, 640), slice(-1, None)])
@pytest.mark.parametrize("shape", [(1000, 100), (1000, 20, 3, 3), (200_000,)])
def test_large_weights_are_compared_from_the_first_row_to_the_last(folder, shape, rows) -> None:
    add(folder / "unet", **{"odd.weight": torch.ones(shape)})
    beside(folder / "unet", "diffusion_pytorch_model.other.safetensors")
    assert not any("other weights" in note for note in load_model(folder).notes)
    path = folder / "unet/diffusion_pytorch_model.other.safetensors"
    tensors = load_file(path)
    tensors["odd.weight"][rows if len(shape) > 1 else slice(100_000, None)] = 2
    save_file(tensors, path)
    assert any("with other weights" in note for note in load_model(folder).notes)


def test_a_copy_in_eight_bits_can_be_compared(folder) -> None:
    beside(folder / "unet", "diffusion_pytorch_model.fp8.safetensors", lambda it: (2 * it).to(torch.float8_e5m2))
    assert "with other weights" in load_model(folder).notes[0]


def test_one_tensor_that_differs_is_seen(folder) -> None:
    beside(folder / "unet", "diffusion_pytorch_model.fp16.safetensors", lambda it: it.half())
    path = folder / "unet/diffusion_pytorch_model.fp16.safetensors"
    tensors = load_file(path)
    tensors["mid_block.resnets.0.conv2.weight"] *= 2
    save_file(tensors, path)
    assert "with other weights" in load_model(folder).notes[0]


def test_weights_without_their_mean_are_told_of(folder) -> None:
    path, _ = weights(folder / "unet")
    path.rename(path.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    (note,) = load_model(folder).notes
    assert "only diffusion_pytorch_model.non_ema.safetensors, the non-EMA weights" in note


def test_adapters_and_averaged_copies_that_lie_beside_are_told_of(folder, tmp_path) -> None:
    lora = LoRA.new(load_model(folder), 2, 2.0, generator=torch.Generator())
    lora.write(folder / "pytorch_lora_weights.safetensors")
    lora.write(folder / "unet/style.safetensors")
    shutil.copytree(folder / "text_encoder", folder / "text_encoder_ema")
    edit(folder / "model_index.json", image_encoder=["transformers", "CLIPVisionModelWithProjection"])
    said = " ".join(load_model(folder).notes)
    for words in (
        "unet also holds style.safetensors, a LoRA, which is not used",
        "holds the LoRA pytorch_lora_weights.safetensors, which is not used",
        "holds text_encoder_ema, averaged weights, which are not used",
        "has image_encoder (CLIPVisionModelWithProjection), which is not used",
    ):
        assert words in said


def in_shards(folder: Path, *, index: bool) -> list[Path]:
    path, tensors = weights(folder)
    path.unlink()
    names = sorted(tensors)
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    paths = [folder / f"diffusion_pytorch_model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    for place, half in zip(paths, halves, strict=True):
        save_file({key: tensors[key] for key in half}, place)
    if index:
        places = {key: place.name for place, half in zip(paths, halves, strict=True) for key in half}
        content = json.dumps({"metadata": {}, "weight_map": places})
        (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(content)
    return paths


@pytest.mark.parametrize("index", [True, False])
def test_weights_in_several_files_are_read_with_and_without_an_index(shipped, folder, index) -> None:
    paths = in_shards(folder / "unet", index=index)
    assert load_model(folder).fingerprint == load_model(shipped).fingerprint
    paths[1].unlink()
    with pytest.raises(BadInput, match="unet (lacks|holds 1 of the 2 parts)"):
        load_model(folder)


def test_a_key_in_two_files_is_refused(folder) -> None:
    first, second = in_shards(folder / "unet", index=False)
    tensors = load_file(second)
    tensors["conv_in.bias"] = torch.zeros(8)
    save_file(tensors, second)
    with pytest.raises(BadInput, match=r"both hold conv_in\.bias"):
        load_model(folder)
    assert first.is_file()


# Single files


def ema_of(tensors) -> dict[str, torch.Tensor]:
    return {
        "model_ema." + key.removeprefix("model.").replace(".", ""): torch.randn_like(tensor)
        for key, tensor in tensors.items()
        if key.startswith("model.diffusion_model.")
    }


def test_an_averaged_copy_in_a_single_file_is_told_of(shipped, tmp_path) -> None:
    path = tmp_path / "full.safetensors"
    twin = ema_of(single_file(path))
    single_file(path, **twin, **{"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(5)})
    said = [note for note in load_model(path, like=shipped).notes if "exponential mean" in note]
    assert len(said) == 1
    assert f"({len(twin)} weights in model_ema), which is not used: the denoiser's own weights are" in said[0]
    single_file(path, drop=("model.diffusion_model.",), **twin)
    with pytest.raises(BadInput, match="only an exponential mean of its denoiser"):
        load_model(path, like=shipped)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "holds a LoRA beside the weights"),
        ("cond_stage_model.transformer.text_model.encoder.layers.0.q_proj.lora_A.weight", "holds a LoRA beside"),
        ("first_stage_model.x.hada_w1_a", "LyCORIS"),
        ("model.diffusion_model.middle_block.1.proj_in.lora_up.weight", "holds a LoRA beside"),
        ("ip_adapter.1.to_k_ip.weight", "IP-Adapter"),
        ("control_model.x.weight", "a ControlNet"),
        ("edm_vpred.sigma_max", "an EDM model"),
        ("edm_mean", "an EDM model"),
        ("model.diffusion_model.middle_block.1.proj_in.scale_weight", "quantized weights"),
        ("scaled_fp8", "quantized weights"),
    ],
)
def test_adapters_and_other_kinds_in_a_single_file_are_refused_by_name(shipped, tmp_path, key, words) -> None:
    single_file(tmp_path / "a.safetensors", **{key: torch.ones(4)})
    with pytest.raises(BadInput, match=words):
        load_model(tmp_path / "a.safetensors", like=shipped)


@pytest.mark.parametrize("key", ["odd.weight", "first_stage_model.odd", "cond_stage_model.odd"])
def test_other_keys_of_a_single_file_are_told_of(shipped, tmp_path, key) -> None:
    single_file(tmp_path / "a.safetensors", **{key: torch.ones(4)})
    model = load_model(tmp_path / "a.safetensors", like=shipped)
    assert any(f"({key})" in note for note in model.notes)
    assert model.unused == (f"{tmp_path / 'a.safetensors'}: {key}",)


@pytest.mark.parametrize("key", ["betas", "sqrt_alphas_cumprod", "logvar", "global_step", "denoiser.sigmas", "ztsnr"])
def test_tables_of_training_code_are_not_told_of(shipped, tmp_path, key) -> None:
    single_file(tmp_path / "a.safetensors", **{key: torch.ones(4)})
    assert not any("not used" in note for note in load_model(tmp_path / "a.safetensors", like=shipped).notes)


# Numbers that are not finite


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_weight_that_is_not_finite_is_named_with_its_file(folder, part, bad) -> None:
    def spoil(tensors):
        key = sorted(key for key, tensor in tensors.items() if tensor.ndim > 1)[-1]
        tensors[key].view(-1)[-1] = bad
        return tensors

    path = reweigh(folder / part, spoil)
    with pytest.raises(BadInput, match=rf"{path} holds NaN or infinity \(.*weight\)"):
        load_model(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_a_weight_that_is_not_finite_is_seen_in_every_precision(folder, dtype) -> None:
    def spoil(tensors):
        tensors["conv_out.bias"][0] = INF
        return {key: tensor.to(dtype) for key, tensor in tensors.items()}

    reweigh(folder / "unet", spoil)
    with pytest.raises(BadInput, match=r"conv_out\.bias"):
        load_model(folder)


@pytest.mark.parametrize(
    "key", ["model.diffusion_model.out.2.bias", "first_stage_model.decoder.conv_out.bias", "cond_stage_model"]
)
def test_a_weight_of_a_single_file_that_is_not_finite_is_named(shipped, tmp_path, key) -> None:
    path = tmp_path / "a.safetensors"
    tensors = single_file(path)
    key = next(name for name in tensors if name.startswith(key) and "position_ids" not in name)
    tensors[key].view(-1)[0] = NAN
    save_file(tensors, path)
    with pytest.raises(BadInput, match=rf"a\.safetensors holds NaN or infinity \({key}\)"):
        load_model(path, like=shipped)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_weight_beyond_float32_is_named_with_its_file(shipped, folder, part) -> None:
    reweigh(folder / part, lambda known: {key: tensor.double() for key, tensor in known.items()})
    assert load_model(folder).fingerprint == load_model(shipped).fingerprint
    path, tensors = weights(folder / part)
    key = next(key for key, tensor in tensors.items() if tensor.ndim > 1 and tensor.is_floating_point())
    save_file(tensors | {key: tensors[key] * 1e200}, path)
    with pytest.raises(BadInput, match=rf"{path} holds numbers beyond float32 \({key}\)"):
        load_model(folder)


def test_a_weight_of_a_single_file_beyond_float32_is_named(shipped, tmp_path) -> None:
    key = "model.diffusion_model.out.2.bias"
    single_file(tmp_path / "a.safetensors", **{key: torch.full((4,), 1e200, dtype=torch.float64)})
    with pytest.raises(BadInput, match=rf"beyond float32 \({key}\)"):
        load_model(tmp_path / "a.safetensors", like=shipped)


def test_complex_weights_are_refused(folder) -> None:
    reweigh(folder / "unet", lambda known: known | {"conv_in.weight": known["conv_in.weight"].to(torch.complex64)})
    with pytest.raises(BadInput, match=r"holds conv_in\.weight as complex numbers"):
        load_model(folder)


def test_quantized_weights_are_refused(folder) -> None:
    reweigh(folder / "unet", lambda known: known | {"conv_in.weight": known["conv_in.weight"].to(torch.int8)})
    with pytest.raises(BadInput, match=r"holds conv_in\.weight as int8, which are quantized weights"):
        load_model(folder)


def test_a_weight_beyond_the_precision_that_is_asked_for_is_refused(folder) -> None:
    reweigh(folder / "unet", lambda known: known | {"conv_in.bias": known["conv_in.bias"] + 1e6})
    assert load_model(folder, dtype=torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(BadInput, match=r"beyond float16 in its denoiser \(conv_in\.bias\)"):
        load_model(folder, dtype=torch.float16)


def test_pictures_and_latents_that_are_not_finite_name_the_part(shipped) -> None:
    model = load_model(shipped)
    latents = model.encode(tiny.pixels(2))
    latents[1, 0, 0, 0] = NAN
    with pytest.raises(IntaglioError, match=r"the denoiser.*latents that are not finite \(row 1 of 2\)"):
        model.decode(latents)
    spared = model.decode(latents, spare_failed=True)
    assert spared[0].isfinite().all()
    assert spared[1].isnan().all()
    with pytest.raises(BadInput, match="NaN"):
        model.encode(tiny.pixels(1) * NAN)
    with torch.no_grad():
        model.autoencoder.decoder.conv_out.bias.fill_(INF)
    sound = model.encode(tiny.pixels(1))
    with pytest.raises(IntaglioError, match="the decoder of model gave pixels that are not finite"):
        model.decode(sound)
    assert model.decode(sound, spare_failed=True).isnan().all()
    with torch.no_grad():
        model.autoencoder.encoder.conv_out.bias.fill_(NAN)
    with pytest.raises(IntaglioError, match="the encoder of model gave latents that are not finite"):
        model.encode(tiny.pixels(1))


@pytest.mark.parametrize("verb", ["authenticate", "finetune", "sample"])
def test_every_verb_refuses_such_a_model_before_any_work(tmp_path, capsys, verb) -> None:
    base, suspect = tiny.pair_folders(tmp_path)
    reweigh(suspect / "unet", lambda known: known | {"conv_in.bias": known["conv_in.bias"] * NAN})
    for number, picture in enumerate(tiny.pixels(2)):
        save_png(picture, tmp_path / "pictures" / f"{number}.png")
    pictures, runs = str(tmp_path / "pictures"), str(tmp_path / "runs")
    audited = ["--suspect", str(suspect), "--base", str(base), "--controls", pictures, "--fpr", "0.5"]
    words = {
        "authenticate": ["pia", *audited, "--images", pictures, "--runs", runs],
        "finetune": ["lora", "--model", str(suspect), "--images", pictures, "--runs", runs],
        "sample": ["--model", str(suspect), "--out", str(tmp_path / "out")],
    }[verb]
    assert cli.main([verb, *words, "--prompt", "cat", "--quiet"]) == 2
    assert "holds NaN or infinity (conv_in.bias)" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
