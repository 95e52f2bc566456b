"""Fine-tunes of transformers: pictures at the scale that a model was made for, and LoRA of their text encoders."""

import dataclasses

import pytest
import torch

from adapt_scenes import training_set
from intaglio.adapt.data import generate_class_images
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.bench.models.random_models import random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA

ONE_STEP = LoRATuning(steps=1, text_encoder=True, learning_rate=0.01)


def test_pictures_of_a_model_without_guidance_are_drawn_at_scale_1(tmp_path, monkeypatch):
    model, asked = load_model(random_pipelines.folder_of("flux1-schnell", tmp_path / "schnell")), []

    def sample(model, prompts, seeds, **given):
        asked.append(given["guidance_scale"])
        return training_set(len(prompts)).images

    monkeypatch.setattr("intaglio.adapt.data.sample", sample)
    monkeypatch.setattr("intaglio.adapt.grids.sample", sample)
    generate_class_images(model, "dog", 2, 0)
    tuner, watch = dataclasses.replace(ONE_STEP, text_encoder=False), Watch(sample_every=1, sample_count=1)
    tuner(model, training_set(1), watch=watch)
    assert set(asked) == {1.0}
    with pytest.raises(BadInput, match="distilled for guidance 1, not 5; leave --sample-guidance out"):
        tuner(model, training_set(1), watch=dataclasses.replace(watch, sample_guidance=5.0))


@pytest.mark.parametrize("kind", ["klein", "flux1-dev"])
def test_the_attention_of_text_encoders_is_tuned_by_its_own_names(kind, tmp_path):
    model = load_model(random_pipelines.folder_of(kind, tmp_path / kind))
    tuned = ONE_STEP(model, training_set(1))
    tuned.adapter.write(tmp_path / "lora.safetensors")
    ends = {path.rsplit(".", 1)[1] for part, path, _ in tuned.adapter.items() if part != "denoiser"}
    clip, t5 = {"q_proj", "k_proj", "v_proj", "out_proj"}, {"q", "k", "v", "o"}
    assert ends == ({"q_proj", "k_proj", "v_proj", "o_proj"} if kind == "klein" else {*clip, *t5})
    again = LoRA.read(tmp_path / "lora.safetensors")
    assert again.unmatched(model) == []
    assert again.merged_into(model.copy()).same_weights(tuned.model)
    pipe = random_pipelines.PIPELINES[kind](0)
    pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    if kind == "flux1-dev":  # whose loader takes CLIP, and no other
        given = model.tokens(["dog"])[0]
        with tuned.adapter.attached(model), torch.no_grad():
            wanted = model.text_encoders[0](given).pooler_output
            assert torch.allclose(pipe.text_encoder(given).pooler_output, wanted, atol=1e-6)
        assert not torch.allclose(model.text_encoders[0](given).pooler_output, wanted, atol=1e-6)


def test_targets_that_are_missing_are_named_alone(tmp_path):
    model = load_model(random_pipelines.folder_of("klein", tmp_path / "klein"))
    with pytest.raises(BadInput, match="does not have all targets: no linear .* ends in to_x; name others"):
        dataclasses.replace(ONE_STEP, targets=("to_q", "to_x")).trainable(model)
