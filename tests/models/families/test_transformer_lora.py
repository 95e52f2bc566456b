"""LoRA files of transformer denoisers: written for diffusers and kohya's trainers, read under published names."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from diffusers.loaders.single_file_utils import (
    convert_auraflow_transformer_checkpoint_to_diffusers,
    convert_flux2_transformer_checkpoint_to_diffusers,
    convert_sd3_transformer_checkpoint_to_diffusers,
    convert_z_image_transformer_checkpoint_to_diffusers,
)
from safetensors.torch import load_file, save_file

import tiny
from intaglio.bench.models.random_models import random_pipelines, t5_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.diffusion.families.flux1 import Flux1
from intaglio.models.diffusion.families.flux2 import Flux2Klein
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.packed_base import PackedBase
from intaglio.models.diffusion.skeletons import skeleton
from intaglio.models.lora.lora import Layer, LoRA
from intaglio.models.lora.module_names import ModelNames
from published_form import published_weights

CONVERTERS = {
    "sd3": convert_sd3_transformer_checkpoint_to_diffusers,
    "flux1-dev": None,
    "zimage": convert_z_image_transformer_checkpoint_to_diffusers,
    "klein": convert_flux2_transformer_checkpoint_to_diffusers,
    "chroma": None,
    "qwen-image": lambda weights: weights,
    "lumina2": None,
    "sana": None,
    "flux2-dev": convert_flux2_transformer_checkpoint_to_diffusers,
    "auraflow": convert_auraflow_transformer_checkpoint_to_diffusers,
}
"""diffusers' converters of published weights; those of FLUX.1, Chroma and Lumina take the published sizes alone."""
LATENTS = torch.randn(2, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(1))
T = torch.tensor([200, 700])


@pytest.fixture(scope="module", params=CONVERTERS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return random_pipelines.folder_of(kind, tmp_path_factory.mktemp("models") / kind)


@pytest.fixture
def model(folder):
    return load_model(folder)


def everywhere(model, alpha: float = 2.0, rank: int = 3) -> LoRA:
    """A random adapter on every linear layer of the denoiser that reads rows."""
    targets = {path for path, one in model.denoiser.named_modules() if isinstance(one, torch.nn.Linear)}
    adapter = LoRA.new(model, rank, alpha, sorted(targets), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _, _, layer in adapter.pairs():
            layer.up.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(layer.up)))
    return adapter


def predicted(model) -> torch.Tensor:
    with torch.no_grad():
        latents = LATENTS.reshape(2, model.latent_channels, model.resolution // model.factor, -1)
        return model.predict(latents, T, model.embed(["red cat", "dog"]))


def merged(model, adapter) -> dict[str, torch.Tensor]:
    return {name: w.clone() for name, w in adapter.merged_into(model.copy()).denoiser.state_dict().items()}


def close(one, two, atol=1e-6) -> bool:
    return one.keys() == two.keys() and all(torch.allclose(one[key], two[key], rtol=0, atol=atol) for key in one)


def test_a_lora_beside_the_weights_of_a_base_acts_as_merged_ones_and_beside_packed_ones_too(model):
    adapter, text = everywhere(model).detached(), model.embed(["red cat"])
    latents = torch.randn(2, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(1))
    packed = PackedBase.of(model, "int8")
    with torch.no_grad():
        merged = adapter.merged_into(model.copy()).predict(latents, T, text)
        torch.testing.assert_close(Adapted(model, adapter).predict(latents, T, text), merged, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model.predict(latents, T, text), merged, atol=1e-2)
        error = (Adapted(packed, adapter).predict(latents, T, text) - merged).square().mean().sqrt()
    assert 0 < float(error / merged.square().mean().sqrt()) < 0.02


def test_an_adapter_acts_through_diffusers_as_it_does_here(kind, folder, model, tmp_path):
    adapter = everywhere(model)
    adapter.write(tmp_path / "lora.safetensors")
    pipe = random_pipelines.PIPELINES[kind](0)
    pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    theirs = load_model(folder)
    theirs.denoiser = pipe.transformer
    with adapter.attached(model):
        acting = predicted(model)
    assert torch.allclose(predicted(theirs), acting, rtol=0, atol=1e-5)
    assert not torch.allclose(predicted(model), acting, atol=1e-3)


def test_kohyas_layout_of_flux_2_acts_through_diffusers(tmp_path):
    """On the default modules, of which the first layer of single blocks is joined in both namings."""
    model = load_model(random_pipelines.folder_of("klein", tmp_path / "m"))
    adapter = LoRA.new(model, 2, 3.0, Flux2Klein.targets, torch.Generator().manual_seed(0))
    assert {path.rsplit(".attn.")[1] for _, path, _ in adapter.items()} >= {
        "to_q",
        "add_k_proj",
        "to_qkv_mlp_proj",
        "to_out",
    }
    with torch.no_grad():
        for _, _, layer in adapter.pairs():
            layer.up.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(layer.up)))
    adapter.write(tmp_path / "lora.safetensors", "kohya")
    pipe = random_pipelines.PIPELINES["klein"](0)
    pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    with adapter.attached(model):
        acting = predicted(model)
    model.denoiser = pipe.transformer
    assert torch.allclose(predicted(model), acting, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_a_written_adapter_is_read_again_exactly(model, tmp_path, layout):
    adapter = everywhere(model)
    adapter.write(tmp_path / "lora.safetensors", layout)
    again = LoRA.read(tmp_path / "lora.safetensors")
    assert again.unmatched(model) == []
    assert close(merged(model, again), merged(model, adapter))
    named = again.named_for(model)
    assert {(part, path) for part, path, _ in named.items()} == {(part, path) for part, path, _ in adapter.items()}


def test_a_part_of_a_joined_layer_changes_that_part_alone(model, tmp_path):
    adapter = LoRA.new(model, 2, 4.0, ["to_k"], torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _, _, layer in adapter.pairs():
            layer.up.normal_(0, 0.1)
    adapter.write(tmp_path / "lora.safetensors", "kohya")
    again = LoRA.read(tmp_path / "lora.safetensors")
    before, after = model.denoiser.state_dict(), merged(model, again)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"{path}.weight" for _, path, _ in adapter.items()}
    assert close(after, merged(model, adapter))


def test_published_names_change_the_published_weights(kind, model, tmp_path):
    """The change is added to the published weights, which diffusers' converter then takes apart."""
    published = published_weights(model)
    back = taken_apart(kind, model, published)
    assert all(torch.equal(back[name], weight) for name, weight in model.denoiser.state_dict().items())
    generator = torch.Generator().manual_seed(2)
    file, changed = {}, dict(published)
    for name, weight in published.items():
        if weight.ndim != 2 or not name.endswith(".weight"):
            continue
        down, up = (
            torch.randn(*shape, generator=generator) * 0.1 for shape in ((2, weight.shape[1]), (len(weight), 2))
        )
        module = name.removesuffix(".weight")
        file |= {f"diffusion_model.{module}.lora_A.weight": down, f"diffusion_model.{module}.lora_B.weight": up}
        changed[name] = weight + up @ down
    save_file(file, tmp_path / "lora.safetensors")
    found = merged(model, LoRA.read(tmp_path / "lora.safetensors"))
    wanted = taken_apart(kind, model, changed)
    assert close(found, {name: wanted[name] for name in found})


def taken_apart(kind, model, published) -> dict[str, torch.Tensor]:
    if (convert := CONVERTERS[kind]) is not None:
        return convert(dict(published))
    weights, first = {}, {}
    for name, place in sorted(model.family.original_names.places(model.denoiser.state_dict()).items(), key=_by_place):
        count, begin = len(model.denoiser.state_dict()[name]), first.get(place.name, 0)
        rows = published[place.name][begin : begin + count]
        weights[name] = torch.cat(rows.chunk(2)[::-1]) if place.swapped else rows
        first[place.name] = begin + count
    return weights


def _by_place(entry) -> int:
    return entry[1].place or 0


def test_kohyas_layout_of_flux_is_taken_apart_as_diffusers_does(tmp_path):
    """At the published size, whose numbers that conversion has in its code; on the attention of every block."""
    network = skeleton("FluxTransformer2DModel", {"guidance_embeds": True})
    names = ModelNames.of(SimpleNamespace(parts={"denoiser": network}, family=Flux1()))
    generator, layers = torch.Generator().manual_seed(0), {}
    for path, one in network.named_modules():
        if "transformer_blocks" in path and "attn" in path and isinstance(one, torch.nn.Linear):
            shapes = ((1, one.in_features), (one.out_features, 1))
            layers[path] = Layer(*(torch.randn(*shape, generator=generator) for shape in shapes), 0.5)
    assert len(layers) == 19 * 8 + 38 * 3
    LoRA({"denoiser": layers}, names=names).write(tmp_path / "lora.safetensors", "kohya")
    theirs = _convert_kohya_flux_lora_to_diffusers(load_file(tmp_path / "lora.safetensors"))
    for path, layer in layers.items():
        down, up = (theirs[f"transformer.{path}.lora_{letter}.weight"] for letter in "AB")
        ends = (up[:3] @ down, up[-3:] @ down)
        wanted = (0.5 * part @ layer.down for part in (layer.up[:3], layer.up[-3:]))
        assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(ends, wanted, strict=True))


@pytest.mark.parametrize("kind", ["sd3", "flux1-dev"], scope="module")
def test_t5_is_the_second_encoder_of_flux_and_the_third_of_sd3(kind, model, tmp_path):
    if kind in ("chroma", "qwen-image"):  # CLIP is not there
        return
    width = 16  # two heads of 8
    file = {
        "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight": torch.randn(2, t5_pipelines.JOINT),
        "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight": torch.randn(width, 2),
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": torch.randn(2, 16),
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight": torch.randn(16, 2),
    }
    save_file(file, tmp_path / "lora.safetensors")
    adapter = LoRA.read(tmp_path / "lora.safetensors").named_for(model)
    t5 = "text_encoder_2" if kind == "flux1-dev" else "text_encoder_3"
    assert set(adapter.layers) == {"text_encoder", t5}
    adapter.write(tmp_path / "again.safetensors", "kohya")
    assert set(load_file(tmp_path / "again.safetensors")) == {
        *file,
        *(key.replace("lora_down.weight", "alpha") for key in file if "down" in key),
    }


def test_an_adapter_of_another_base_says_so(model, kind, tmp_path):
    other = load_model(tiny.sd_folder(tmp_path / "sd"))
    LoRA.new(other, 2, 2.0).write(tmp_path / "lora.safetensors")
    with pytest.raises(BadInput, match="can be used on"):
        LoRA.read(tmp_path / "lora.safetensors").attach(model)
    everywhere(model).write(tmp_path / "own.safetensors", "kohya")
    with pytest.raises(
        BadInput, match=r"made for (Flux|Chroma|Stable Diffusion 3|Z-Image|Qwen-Image|Lumina|AuraFlow|SANA)"
    ):
        LoRA.read(tmp_path / "own.safetensors").attach(other)
    read = load_model(random_pipelines.folder_of(kind, tmp_path / "base"), lora=tmp_path / "own.safetensors")
    assert not any("made for" in note for note in read.notes)


QKV = "double_blocks.0.img_attn.qkv"
FORMS = {
    "lora": {"lora_down.weight": (2, 32), "lora_up.weight": (96, 2)},
    "loha": {"hada_w1_a": (96, 2), "hada_w1_b": (2, 32), "hada_w2_a": (96, 2), "hada_w2_b": (2, 32)},
    "lokr": {"lokr_w1": (4, 4), "lokr_w2": (24, 8)},
    "dora": {"lora_down.weight": (2, 32), "lora_up.weight": (96, 2), "dora_scale": (96, 1)},
    "dora of a lokr": {"lokr_w1": (8, 4), "lokr_w2": (12, 8), "dora_scale": (96, 1)},
}
"""Changes of one layer that FLUX.1 has as query, key and value, each of 32 rows."""


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    return load_model(random_pipelines.folder_of("flux1-dev", tmp_path_factory.mktemp("flux") / "m"))


def form_of(tmp_path, form, name) -> LoRA:
    generator = torch.Generator().manual_seed(0)
    drawn = {end: 0.5 + torch.rand(shape, generator=generator) for end, shape in FORMS[form].items()}
    save_file({f"{name}.{end}": tensor for end, tensor in drawn.items()}, tmp_path / "form.safetensors")
    return LoRA.read(tmp_path / "form.safetensors")


def by_hand(tmp_path, weight) -> torch.Tensor:
    """The joined weight with the change of the file."""
    t = {key.split("qkv.")[1]: it for key, it in load_file(tmp_path / "form.safetensors").items()}
    if "hada_w1_a" in t:
        return weight + (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])
    whole = torch.kron(t["lokr_w1"], t["lokr_w2"]) if "lokr_w1" in t else t["lora_up.weight"] @ t["lora_down.weight"]
    full = weight + whole
    return full if "dora_scale" not in t else t["dora_scale"] * full / full.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("form", list(FORMS))
def test_every_kind_of_a_joined_layer_is_taken_apart_and_joined_again_exactly(flux, tmp_path, form):
    adapter = form_of(tmp_path, form, f"lycoris_{QKV.replace('.', '_')}").named_for(flux)
    wanted = by_hand(tmp_path, published_weights(flux)[f"{QKV}.weight"])
    found = published_weights(adapter.merged_into(flux.copy()))[f"{QKV}.weight"]
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert {path.rsplit(".", 1)[1] for _, path, _ in adapter.items()} == {"to_q", "to_k", "to_v"}
    with nullcontext() if form != "dora" else pytest.warns(UserWarning, match="diffusers leaves its dora_scale out"):
        adapter.write(tmp_path / "again.safetensors", "kohya")
    again = LoRA.read(tmp_path / "again.safetensors")
    assert len(again) == 1
    assert close(merged(flux, again), merged(flux, adapter), atol=1e-5)
    if "lokr" in form:
        with pytest.raises(BadInput, match="part of a joined LoKr, which neither diffusers nor PEFT loads"):
            adapter.write(tmp_path / "third.safetensors")
        return
    adapter.write(tmp_path / "third.safetensors")
    assert close(merged(flux, LoRA.read(tmp_path / "third.safetensors")), merged(flux, adapter), atol=1e-5)


def test_what_cannot_be_taken_apart_or_joined_is_refused_by_name(flux, tmp_path):
    name = f"lycoris_{QKV.replace('.', '_')}"
    columns = {"lora_down.weight": (2, 32), "lora_up.weight": (96, 2), "dora_scale": (1, 32)}
    save_file({f"{name}.{end}": torch.rand(shape) for end, shape in columns.items()}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="the norms of inputs needs the weight of all that the file has joined"):
        LoRA.read(tmp_path / "a.safetensors").attach(flux)
    for ends in (("lokr_w1", "lokr_w2"), ("lora_down.weight", "lora_up.weight", "dora_scale")):
        shapes = {"lokr_w1": (4, 4), "lokr_w2": (8, 8), "lora_down.weight": (2, 32), "lora_up.weight": (32, 2)}
        shapes["dora_scale"] = (32, 1)
        alone = {f"transformer.transformer_blocks.0.attn.to_q.{end}": torch.rand(shapes[end]) for end in ends}
        save_file(alone, tmp_path / "b.safetensors")
        with pytest.raises(BadInput, match=r"has lora_unet_\w+_qkv as one layer: .* of 1 of its 3 parts"):
            LoRA.read(tmp_path / "b.safetensors").named_for(flux).write(tmp_path / "c.safetensors", "kohya")


def test_halves_that_stand_the_other_way_round_are_exchanged_in_every_kind(flux, tmp_path):
    path = next(path for path, place in ModelNames.of(flux).places.items() if place.swapped)
    name, weight = ModelNames.of(flux).places[path].name, flux.denoiser.get_submodule(path).weight.detach()
    first, second = torch.rand(len(weight) // 8, 4), torch.rand(8, weight.shape[1] // 4)
    save_file({f"{name}.lokr_w1": first, f"{name}.lokr_w2": second}, tmp_path / "a.safetensors")
    adapter = LoRA.read(tmp_path / "a.safetensors").named_for(flux)
    found = merged(flux, adapter)[f"{path}.weight"]
    assert torch.allclose(found, weight + torch.kron(first, second).roll(len(weight) // 2, 0), atol=1e-6)
    adapter.write(tmp_path / "b.safetensors", "kohya")
    assert torch.equal(load_file(tmp_path / "b.safetensors")[f"lora_unet_{name.replace('.', '_')}.lokr_w1"], first)


def test_xlabs_names_of_flux_change_what_diffusers_changes(flux, tmp_path):
    generator, file = torch.Generator().manual_seed(0), {}
    width, inner = 32, flux.denoiser.get_submodule("single_transformer_blocks.0.proj_out").in_features
    shapes = {"qkv_lora": (width, 3 * width), "proj_lora": (width, width)}
    for end, (read, out) in shapes.items():
        for stream in "12":
            name = f"double_blocks.0.processor.{end}{stream}"
            file |= {f"{name}.down.weight": (2, read), f"{name}.up.weight": (out, 2)}
    file |= {"single_blocks.0.processor.qkv_lora.down.weight": (2, width)}
    file |= {"single_blocks.0.processor.qkv_lora.up.weight": (3 * width, 2)}
    file |= {"single_blocks.0.processor.proj_lora.down.weight": (2, inner)}
    file |= {"single_blocks.0.processor.proj_lora.up.weight": (width, 2)}
    file = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in file.items()}
    save_file(file, tmp_path / "lora.safetensors")
    adapter = LoRA.read(tmp_path / "lora.safetensors")
    paths = {path for _, path, _ in adapter.named_for(flux).items()}
    assert adapter.unmatched(flux) == []
    assert len(paths) == 12
    pipe = random_pipelines.PIPELINES["flux1-dev"](0)
    pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    assert close(merged(flux, adapter), pipe.transformer.state_dict(), atol=1e-5)
    changed = merged(flux, adapter)
    assert {f"{path}.weight" for path in paths} == {
        name for name, weight in flux.denoiser.state_dict().items() if not torch.equal(weight, changed[name])
    }


@pytest.mark.parametrize("kind", ["zimage", "klein"], scope="module")
@pytest.mark.parametrize("form", ["dora", "lokr"])
def test_other_kinds_act_through_the_pipelines_of_diffusers_that_load_them(kind, model, tmp_path, form):
    generator, file = torch.Generator().manual_seed(0), {}
    for path, one in model.denoiser.named_modules():
        if isinstance(one, torch.nn.Linear) and path.endswith(("to_q", "to_k", "to_v")):
            out, read = one.weight.shape
            pair = {"lora_A.weight": (2, read), "lora_B.weight": (out, 2), "lora_magnitude_vector": (out,)}
            shapes = pair if form == "dora" else {"lokr_w1": (4, 4), "lokr_w2": (out // 4, read // 4)}
            file |= {
                f"transformer.{path}.{end}": torch.rand(shape, generator=generator) for end, shape in shapes.items()
            }
    save_file(file, tmp_path / "a.safetensors")
    adapter = LoRA.read(tmp_path / "a.safetensors").named_for(model)
    adapter.write(tmp_path / "lora.safetensors")
    pipe = random_pipelines.PIPELINES[kind](0)
    pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    assert close(merged(model, adapter), pipe.transformer.state_dict(), atol=1e-5)
