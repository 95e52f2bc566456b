"""Settings of transformers that would crash later, or make another network in silence, are refused in time."""

import json
import shutil

import pytest
from safetensors.torch import save_file

from intaglio.bench.models.random_models import random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion import component_folders, transformer_file
from intaglio.models.diffusion.loading import load_model
from published_form import published_weights

CONFIG, SCHEDULER = "transformer/config.json", "scheduler/scheduler_config.json"
FAULTS = (
    ("flux1-dev", CONFIG, {"axes_dims_rope": [4, 4, 4]}, r"add up to 12, where each head .* has 16"),
    ("flux1-dev", CONFIG, {"axes_dims_rope": [5, 5, 6]}, "where 3 even numbers above 0 are due"),
    ("flux1-dev", CONFIG, {"guidance_embeds": None}, r"does not take \(.*guidance_embedder.*qk_norm"),
    ("flux1-dev", "vae/config.json", {"shift_factor": None}, "says no shift_factor, which those of its family have"),
    ("klein", CONFIG, {"axes_dims_rope": [4, 4, 4, 8]}, "add up to 20, where each head"),
    ("chroma", CONFIG, {"axes_dims_rope": [4, 12]}, "where 3 even numbers above 0 are due"),
    ("qwen-image", CONFIG, {"axes_dims_rope": [4, 4, 4]}, "add up to 12, where each head"),
    ("zimage", CONFIG, {"axes_dims": [4, 4, 4]}, "its axes_dims add up to 12"),
    ("zimage", CONFIG, {"axes_lens": [4, 4, 4]}, r"need \[66, 4, 4\]"),
    ("zimage", CONFIG, {"n_heads": 3}, "n_heads 3 do not divide its dim 32"),
    ("sd3", CONFIG, {"sample_size": 32}, "16 patches has more than the 8 places of pos_embed_max"),
    ("sd3", CONFIG, {"qk_norm": None}, r"does not take \(transformer_blocks.*norm_.*such as qk_norm"),
    ("sd3", SCHEDULER, {"_class_name": "DDIMScheduler"}, "config.json is of a DDIMScheduler, wh"),
    ("sd3", SCHEDULER, {"num_train_timesteps": 500}, "config.json has .* 500, .*; give the sched"),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    return {kind: random_pipelines.folder_of(kind, made / kind) for kind in {kind for kind, *_ in FAULTS}}


@pytest.mark.parametrize(("kind", "file", "change", "match"), FAULTS)
def test_a_setting_that_its_weights_contradict_is_refused(folders, tmp_path, monkeypatch, kind, file, change, match):
    folder = shutil.copytree(folders[kind], tmp_path / "m")
    settings = json.loads((folder / file).read_text()) | change
    (folder / file).write_text(json.dumps({key: one for key, one in settings.items() if one is not None}))
    plain = component_folders.filled

    def filled(module, weight_of, dtype):
        assert "Transformer" not in type(module).__name__, "the denoiser was read"
        return plain(module, weight_of, dtype)

    monkeypatch.setattr(component_folders, "filled", filled)
    with pytest.raises(BadInput, match=match):
        load_model(folder)


def test_a_file_beside_a_folder_of_other_guidance_is_refused_unread(folders, tmp_path, monkeypatch):
    schnell = load_model(random_pipelines.folder_of("flux1-schnell", tmp_path / "schnell"))
    dev, weights = load_model(folders["flux1-dev"]), published_weights(schnell)
    save_file(weights, tmp_path / "m.safetensors")
    save_file({**weights, "double_blocks.0.unread": weights["img_in.weight"].clone()}, tmp_path / "more.safetensors")
    monkeypatch.setattr(transformer_file, "filled", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(BadInput, match="takes the guidance scale otherwise than flux1-dev does"):
        load_model(tmp_path / "m.safetensors", like=dev)
    with pytest.raises(BadInput, match=r"does not take \(double_blocks\.0\.unread\)"):
        load_model(tmp_path / "more.safetensors", like=schnell)
