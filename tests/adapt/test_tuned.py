import dataclasses

import pytest
import torch
from safetensors import safe_open

from adapt_scenes import model, same, training_set, weights
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA

WATCH = Watch(sample_count=2, sample_steps=2)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_full_weights_are_saved_as_a_model_that_loads_again(tmp_path, kind):
    base = model(kind=kind)
    result = DreamBooth(steps=2, learning_rate=1e-3, text_encoder=True)(base, training_set(3, 2), watch=WATCH)
    path = result.save(tmp_path, name="cat")
    assert path == tmp_path / "model"
    assert same(weights(load_model(path)), weights(result.model))
    assert not load_model(path).same_weights(base)
    path = result.save(tmp_path, name="cat")
    assert sorted(child.name for child in tmp_path.iterdir()) == ["README.md", "model", "samples"]


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize(
    ("layout", "file"), [("diffusers", "pytorch_lora_weights.safetensors"), ("kohya", "cat.safetensors")]
)
def test_an_adapter_is_saved_in_either_layout_and_acts_alike(tmp_path, kind, layout, file):
    base = model(kind=kind)
    method = LoRATuning(steps=3, learning_rate=1e-2, rank=2, alpha=3.0, text_encoder=True)
    result = method(base, training_set())
    path = result.save(tmp_path, layout=layout, name="cat")
    assert path == tmp_path / file
    assert not result.model.same_weights(base), "an audit must see that the tuned model is another one"
    with safe_open(path, "pt") as opened:
        assert opened.metadata()["intaglio.base"] == base.fingerprint
        assert all(".lora_A." in key or ".lora_B." in key for key in opened.keys()) == (layout == "diffusers")  # noqa: SIM118
    latents, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 500])
    read = LoRA.read(path)
    assert read.unmatched(base) == []
    with torch.no_grad():
        expected = result.model.predict(latents, t, result.model.embed(["red cat"]))
        plain = base.predict(latents, t, base.embed(["red cat"]))
        with read.attached(base):
            got = base.predict(latents, t, base.embed(["red cat"]))
    assert torch.allclose(got, expected, atol=1e-5)
    assert not torch.allclose(got, plain, atol=1e-4)


def test_the_card_says_what_it_is_made_of(tmp_path):
    base, data = model(), training_set(3, 2)
    data = dataclasses.replace(data, images=dataclasses.replace(data.images, repeats=(1, 1, 4)))
    result = LoRATuning(steps=2, rank=3, seed=7)(base, data, watch=WATCH)
    result.save(tmp_path, name="my cat")
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\ntags:\n")
    for words in (
        "# my cat\n",
        "LoRA adapter",
        "`pytorch_lora_weights.safetensors`",
        base.fingerprint,
        "Licence: inherits the base's",
        "Prompt: `red cat`",
        "Pictures: 3, 6 an epoch with repeats",
        "Class pictures: 2 ",
        "prompt `cat`",
        "`LoRATuning` of intaglio",
        "| rank | 3 |",
        "| seed | 7 |",
        "![sample](samples/00.png) ![sample](samples/01.png)",
    ):
        assert words in card
    assert (tmp_path / "samples" / "01.png").exists()
    assert str(tmp_path) not in card
    DreamBooth(steps=1)(base, training_set()).save(tmp_path / "full")
    card = (tmp_path / "full" / "README.md").read_text()
    assert "Samples" not in card
    assert "Class pictures" not in card
    assert "all weights tuned" in card


def test_losses_make_a_table():
    result = DreamBooth(steps=3, schedule="linear", learning_rate=0.3)(model(), training_set())
    frame = result.to_frame()
    assert frame["step"].tolist() == [1, 2, 3]
    assert frame["loss"].tolist() == result.losses.tolist()
    assert frame["lr"].tolist() == pytest.approx([0.3, 0.2, 0.1])
