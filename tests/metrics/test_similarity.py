import json
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cosine_similarity, normalize
from transformers import (
    BertConfig,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

from intaglio.errors import BadInput, IntaglioError
from intaglio.files import file_hash
from intaglio.metrics.similarity import measures
from intaglio.metrics.similarity.encoder import Encoder, load_encoder, save_encoder
from intaglio.metrics.similarity.local_networks import CLIP, IMAGENET, Preprocessing, resized
from intaglio.metrics.similarity.measures import Embedding, load_similarity

VIT = {"hidden_size": 16, "num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 8}


def pictures(count, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    torch.manual_seed(0)
    network = Encoder((4, 6, 8), dim=5, size=32)
    network(pictures(8))  # statistics of the normalisation that are not the initial ones
    path = tmp_path_factory.mktemp("encoder") / "tiny.safetensors"
    save_encoder(network.eval(), path)
    return path


@pytest.fixture(params=["ssim", "encoder"])
def measure(request, encoder_file):
    return load_similarity("ssim" if request.param == "ssim" else encoder_file)


# --- what holds for each ----------------------------------------------------------------------------------------------


def test_equal_pictures_score_one_and_order_does_not_matter(measure):
    a, b = pictures(3, seed=1), pictures(3, seed=2)
    assert measure(a, a) == pytest.approx([1, 1, 1], abs=1e-5)
    assert measure(a, b) == pytest.approx(measure(b, a).tolist(), abs=1e-5)
    assert (measure(a, b) < 0.9999).all()


def test_the_matrix_holds_every_pair(measure):
    a, b = pictures(3, seed=1), pictures(4, seed=2)
    matrix = measure.matrix(a, b)
    assert matrix.shape == (3, 4)
    for i in range(3):
        for j in range(4):
            assert matrix[i, j] == pytest.approx(measure(a[i : i + 1], b[j : j + 1]).item(), abs=1e-5)


def test_no_pictures_give_no_scores(measure):
    none, some = torch.zeros(0, 3, 32, 32), pictures(2)
    assert measure(none, none).shape == (0,)
    assert measure.matrix(none, some).shape == (0, 2)
    assert measure.matrix(some, none).shape == (2, 0)


def test_hashes_name_the_weights(measure, encoder_file):
    assert len(measure.hash) == 64
    assert measure.hash == (file_hash(encoder_file) if isinstance(measure, Embedding) else load_similarity("ssim").hash)


def test_ssim_is_scikit_images():
    metrics = pytest.importorskip("skimage.metrics")
    a = pictures(2)
    b = (a + 0.2 * pictures(2, seed=5)).clamp(0, 1)
    for mine, x, y in zip(load_similarity("ssim")(a, b), a.double(), b.double(), strict=True):
        theirs = metrics.structural_similarity(
            x.numpy(),
            y.numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        # theirs pads and crops at truncate 3.5 sigma = 5 pixels, which is the 11-pixel window
        assert mine.item() == pytest.approx(theirs, abs=2e-4)


# --- the embedded encoder's layout ------------------------------------------------------------------------------------


def test_a_file_gives_back_the_network(encoder_file, tmp_path):
    first = load_encoder(encoder_file)
    again = tmp_path / "again.safetensors"
    save_encoder(first, again)
    assert torch.equal(first(pictures(3)), load_encoder(again)(pictures(3)))
    assert (first.widths, first.dim, first.size) == ((4, 6, 8), 5, 32)
    kinds = {k: v.dtype for k, v in load_file(again).items()}
    assert {v for k, v in kinds.items() if k.endswith("conv.weight")} == {torch.float16}
    assert {v for k, v in kinds.items() if "running" in k} == {torch.float32}


def test_half_precision_costs_little(tmp_path):
    torch.manual_seed(1)
    network = Encoder((4, 6, 8), dim=5, size=32).eval()
    save_encoder(network, tmp_path / "e.safetensors")
    close = cosine_similarity(network(pictures(4)), load_encoder(tmp_path / "e.safetensors")(pictures(4)))
    assert (close > 0.999).all()


def test_descriptors_have_length_one_whatever_the_batch(encoder_file):
    measure = load_similarity(encoder_file)
    many = pictures(measures.PICTURES_AT_ONCE + 3)
    together = measure.embed(many)
    assert together.norm(dim=1) == pytest.approx(np.ones(len(many)), abs=1e-5)
    apart = torch.cat([measure.embed(one[None]) for one in many])
    assert torch.allclose(together, apart, atol=1e-5)


def test_larger_pictures_are_reduced_first(encoder_file):
    measure, large = load_similarity(encoder_file), pictures(2, side=80)
    by_hand = load_encoder(encoder_file)(resized(large, (32, 32)))
    assert torch.allclose(measure.embed(large), by_hand, atol=1e-6)


def test_generalised_mean_is_the_cubic_one(encoder_file):
    x = pictures(2, side=5)
    by_hand = [[(channel.double() ** 3).mean().item() ** (1 / 3) for channel in one] for one in x]
    assert np.allclose(load_encoder(encoder_file).pool(x).numpy(), by_hand, atol=1e-5)


def test_the_encoder_leaves_no_gradients(encoder_file):
    assert not any(p.requires_grad for p in load_encoder(encoder_file).parameters())
    assert not load_similarity(encoder_file).embed(pictures(1).requires_grad_()).requires_grad


@pytest.mark.parametrize("damage", ["truncated", "other layout", "missing tensor", "wrong width", "no widths"])
def test_damaged_files_are_named(encoder_file, tmp_path, damage):
    path = tmp_path / "bad.safetensors"
    tensors = load_file(encoder_file)
    about = {"architecture": "intaglio-encoder-1", "widths": "[4, 6, 8]", "dim": "5", "size": "32"}
    if damage == "truncated":
        path.write_bytes(encoder_file.read_bytes()[:-100])
    else:
        about["architecture"] = "resnet" if damage == "other layout" else about["architecture"]
        about["widths"] = "[4, 6, 9]" if damage == "wrong width" else about["widths"]
        if damage == "no widths":
            del about["widths"]
        if damage == "missing tensor":
            del tensors["head.bias"]
        save_file(tensors, path, about)
    with pytest.raises(BadInput, match=r"bad\.safetensors"):
        load_similarity(path) if damage != "other layout" else load_encoder(path)


# --- preprocessing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "filter"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
@pytest.mark.parametrize("size", [(20, 20), (48, 30), (90, 80)])
def test_resizing_is_pillows(kind, filter, size):
    pixels = ((0.25 + 0.5 * pictures(1, side=60)) * 255).round() / 255  # theirs also clips between the two passes
    mine = resized(pixels, size, kind)[0].permute(1, 2, 0).numpy() * 255
    theirs = Image.fromarray((pixels[0] * 255).round().byte().permute(1, 2, 0).numpy()).resize(size[::-1], filter)
    assert np.abs(mine - np.asarray(theirs, np.float32)).max() <= 2


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(4, 30), st.integers(2, 30))
def test_the_shorter_side_is_met_and_the_middle_kept(height, width, short, crop):
    plain = torch.zeros(1, 3, height, width)
    out = Preprocessing(resize=short)(plain)
    assert min(out.shape[-2:]) == short
    assert max(out.shape[-2:]) == int(short * max(height, width) / min(height, width))
    assert Preprocessing(resize=short, crop=(crop, crop))(plain).shape[-2:] == (crop, crop)


def test_the_crop_is_the_centre():
    row = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 3, 6, 6)
    assert Preprocessing(crop=(2, 2))(row)[0, 0].tolist() == [[2, 3], [2, 3]]
    assert Preprocessing(crop=(6, 8))(row)[0, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 0]


def test_a_deviation_of_zero_is_refused():
    with pytest.raises(ValueError, match="deviation"):
        Preprocessing(deviation=(1.0, 0.0, 1.0))


# --- TorchScript ------------------------------------------------------------------------------------------------------


class Means(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Flat(nn.Module):
    def forward(self, x):
        return x


def scripted(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


@pytest.mark.parametrize("suffix", [".pt", ".ts", ".torchscript"])
def test_torchscript_sees_imagenets_normalisation(tmp_path, suffix):
    measure = load_similarity(scripted(Means(), tmp_path / f"net{suffix}"))
    x = pictures(2, side=40)
    mean, deviation = (torch.tensor(v) for v in IMAGENET)
    assert torch.allclose(measure.embed(x), normalize((x.mean((2, 3)) - mean) / deviation, dim=1), atol=2e-2)
    given_ = load_similarity(tmp_path / f"net{suffix}", preprocessing=Preprocessing())
    assert torch.allclose(given_.embed(x), normalize(x.mean((2, 3)), dim=1), atol=1e-6)
    assert measure.hash != given_.hash


def test_a_file_beside_torchscript_says_how_pictures_go_in(tmp_path):
    path = scripted(Means(), tmp_path / "net.pt")
    x = pictures(2, side=40)
    half = {"do_resize": False, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "net.json").write_text(json.dumps(half))
    assert torch.allclose(load_similarity(path).embed(x), normalize((x.mean((2, 3)) - 0.5) / 0.25, dim=1), atol=1e-5)
    (tmp_path / "net.json").write_text(json.dumps({"size": {"height": "wide"}}))
    with pytest.raises(BadInput, match=r"net\.json asks for a preprocessing that is not known here"):
        load_similarity(path)


def test_a_pickle_is_refused_before_it_can_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"model": Trap()}, tmp_path / "net.pt")
    with pytest.raises(BadInput, match=r"net\.pt is a pickle.*torch\.jit"):
        load_similarity(tmp_path / "net.pt")
    assert not (tmp_path / "ran").exists()


def test_no_archive_and_a_broken_one(tmp_path):
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(BadInput, match=r"text\.pt is a pickle"):
        load_similarity(tmp_path / "text.pt")
    with zipfile.ZipFile(tmp_path / "hollow.pt", "w") as archive:
        archive.writestr("net/constants.pkl", b"")
        archive.writestr("net/code/net.py", b"?")
    with pytest.raises(BadInput, match=r"hollow\.pt cannot be loaded as TorchScript"):
        load_similarity(tmp_path / "hollow.pt")


def test_a_network_that_gives_no_descriptors(tmp_path):
    measure = load_similarity(scripted(Flat(), tmp_path / "flat.pt"), preprocessing=Preprocessing())
    with pytest.raises(BadInput, match=r"shape \(2, 3, 8, 8\) for 2 pictures"):
        measure.embed(pictures(2, side=8))


# --- transformers folders ---------------------------------------------------------------------------------------------


def save(model, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(3)
    root = tmp_path_factory.mktemp("networks")
    vision = CLIPVisionConfig(**VIT, image_size=16, projection_dim=6)
    words = CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=9
    )
    clip = CLIPModel(CLIPConfig(text_config=words.to_dict(), vision_config=vision.to_dict(), projection_dim=6))
    networks = {
        "clip": clip,
        "dino": ViTModel(ViTConfig(**VIT, image_size=16), add_pooling_layer=False),
        "dinov2": Dinov2Model(Dinov2Config(**VIT, image_size=16, mlp_ratio=2)),
        "headless": CLIPVisionModel(vision),
    }
    for name, network in networks.items():
        save(network, root / name)
    return root, networks


def prepared(x, mean, deviation, resize, side):
    out = resized(x, (resize, resize), "bicubic")
    edge = (resize - side) // 2
    out = out[..., edge : edge + side, edge : edge + side]
    return (out - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(deviation).view(1, 3, 1, 1)


@torch.no_grad()
def test_clip_is_the_image_embedding(folders):
    root, networks = folders
    x = pictures(3, side=40)
    measure = load_similarity(root / "clip")
    clip = networks["clip"]
    pooled = clip.vision_model(pixel_values=prepared(x, *CLIP, 16, 16)).pooler_output
    by_hand = normalize(clip.visual_projection(pooled), dim=1)
    assert torch.allclose(measure.embed(x), by_hand, atol=1e-5)
    assert "CLIP" in measure.name


@torch.no_grad()
@pytest.mark.parametrize(("kind", "blocks", "default"), [("dino", 4, True), ("dino", 2, False), ("dinov2", 1, True)])
def test_dino_is_the_class_tokens_of_the_last_blocks(folders, kind, blocks, default):
    root, networks = folders
    x = pictures(2, side=40)
    network = networks[kind]
    tokens = []
    layers = network.layers if hasattr(network, "layers") else network.encoder.layer
    hooks = [
        layer.register_forward_hook(lambda m, i, o: tokens.append((o[0] if isinstance(o, tuple) else o)[:, 0]))
        for layer in list(layers)[-blocks:]
    ]
    network(pixel_values=prepared(x, *IMAGENET, 18, 16))
    for hook in hooks:
        hook.remove()
    by_hand = normalize(torch.cat([network.layernorm(t) for t in tokens], dim=1), dim=1)
    measure = load_similarity(root / kind) if default else load_similarity(root / kind, blocks=blocks)
    assert by_hand.shape[1] == 16 * blocks
    assert torch.allclose(measure.embed(x), by_hand, atol=1e-5)


def test_the_folders_own_preprocessing_is_followed(folders, tmp_path):
    root, _ = folders
    for file in (root / "dino").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    plain = load_similarity(tmp_path)
    asked = {
        "do_resize": True,
        "size": {"shortest_edge": 20},
        "resample": 2,
        "do_center_crop": True,
        "crop_size": {"height": 16, "width": 16},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.4, 0.3],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(asked))
    found = load_similarity(tmp_path)
    wanted = Preprocessing(20, (16, 16), "bilinear", (0.5, 0.5, 0.5), (0.5, 0.4, 0.3))
    same = load_similarity(tmp_path, preprocessing=wanted)
    x = pictures(2, side=50)
    assert torch.equal(found.embed(x), same.embed(x))
    assert found.hash == same.hash
    assert found.hash != plain.hash
    assert not torch.allclose(found.embed(x), plain.embed(x), atol=1e-3)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(asked | {"resample": 77}))
    with pytest.raises(BadInput, match="preprocessor_config"):
        load_similarity(tmp_path)


def test_a_weights_file_stands_for_its_folder(folders):
    root, _ = folders
    assert load_similarity(root / "dino" / "model.safetensors").hash == load_similarity(root / "dino").hash


def test_a_network_without_all_its_weights_is_refused(folders):
    with pytest.raises(BadInput, match=r"lacks visual_projection\.weight"):
        load_similarity(folders[0] / "headless")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "config.json is missing"),
        ({"config.json": "{"}, "no readable JSON"),
        ({"config.json": '{"model_type": "vit"}', "pytorch_model.bin": "x"}, "no model.safetensors"),
        ({"config.json": json.dumps(BertConfig().to_dict()), "model.safetensors": "x"}, "type bert"),
        (
            {"config.json": '{"model_type": "vit", "num_hidden_layers": 12}', "model.safetensors": "x"},
            "cannot be loaded",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=words):
        load_similarity(tmp_path)


def test_wrong_blocks_are_refused(folders):
    with pytest.raises(BadInput, match="from 1 to 5, not 6"):
        load_similarity(folders[0] / "dino", blocks=6)
    with pytest.raises(BadInput, match="from 1 to 5, not 0"):
        load_similarity(folders[0] / "dino", blocks=0)
    with pytest.raises(BadInput, match="CLIP"):
        load_similarity(folders[0] / "clip", blocks=1)


# --- names ------------------------------------------------------------------------------------------------------------


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no similarity called openai/clip"):
        load_similarity("openai/clip-vit-base-patch32")
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"weights\.bin is no encoder"):
        load_similarity(tmp_path / "weights.bin")


def test_a_package_without_its_data_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(measures, "EMBEDDED", tmp_path / "gone.safetensors")
    with pytest.raises(IntaglioError, match="missing"):
        load_similarity("embedded")
