import dataclasses

import pytest

from adapt_scenes import model, training_set
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch

WATCH = Watch(sample_count=2, sample_steps=2)


def test_the_card_says_what_it_is_made_of(tmp_path):
    base, data = model(), training_set(3, 2)
    data = dataclasses.replace(data, images=dataclasses.replace(data.images, repeats=(1, 1, 4)))
    result = LoRATuning(steps=2, rank=3, seed=7)(base, data, watch=WATCH)
    result.save(tmp_path, name="my cat")
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\ntags:\n- text-to-image\n- lora\n---\n")
    for words in (
        "# my cat\n",
        "Low-rank update tuned (LoRA): a LoRA adapter, in `pytorch_lora_weights.safetensors`.",
        base.fingerprint,
        "Licence: inherits the base's",
        "Prompt: `red cat`",
        "Pictures: 3, 6 an epoch with repeats",
        "Class pictures: 2 ",
        "prompt `cat`",
        "paths that end in `attn1.to_k`, `attn1.to_out.0`, `attn1.to_q`, `attn1.to_v`, `attn2.to_k`",
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
    assert "All weights tuned (DreamBooth): a model, in `model`." in card


def test_losses_make_a_table():
    result = DreamBooth(steps=3, schedule="linear", learning_rate=0.3)(model(), training_set())
    frame = result.to_frame()
    assert frame["step"].tolist() == [1, 2, 3]
    assert frame["loss"].tolist() == result.losses.tolist()
    assert frame["lr"].tolist() == pytest.approx([0.3, 0.2, 0.1])
