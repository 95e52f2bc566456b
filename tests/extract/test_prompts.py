import json

import pytest
import torch
from safetensors.torch import save_file

from extract_scenes import pair
from intaglio.extract.prompts import suggested_prompt


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    "text",
    [
        "---\ntags:\n- lora\ninstance_prompt: a photo of sks dog\n---\n# x",
        '---\ninstance_prompt: "a photo of sks dog"\n---\n',
        "# x\n\n- Base: y\n- Prompt: `a photo of sks dog`\n",
    ],
)
def test_the_card_is_read_beside_the_weights_and_above_their_folder(text, models, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "README.md").write_text(text)
    for place in (tmp_path, tmp_path / "model", tmp_path / "lora.safetensors"):
        assert suggested_prompt(place, *models) == ("a photo of sks dog", "the card README.md")


def test_a_lora_files_most_frequent_tag_and_its_own_phrase(models, tmp_path):
    tags = json.dumps({"10_dog": {"dog": 3, "sks dog": 10}, "5_cat": {"cat": 5}})
    file = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, file, metadata={"ss_tag_frequency": tags})
    assert suggested_prompt(file, *models) == ("sks dog", "the tags in a.safetensors")
    save_file({"x": torch.zeros(1)}, file, metadata={"ss_tag_frequency": tags, "modelspec.trigger_phrase": "zwx"})
    assert suggested_prompt(file, *models) == ("zwx", "the notes in a.safetensors")


def test_words_that_only_the_suspects_tokenizer_has(models, tmp_path):
    suspect, base = models
    suspect = suspect.copy()
    from tiny import tokenizer

    more = tokenizer()
    more.add_tokens(["<sks>"])
    suspect.tokenizers = (more,)
    assert suggested_prompt(tmp_path, suspect, base) == ("<sks>", "the words that only the suspect's tokenizer has")


@pytest.mark.parametrize("notes", [{}, {"ss_tag_frequency": "no json"}, {"ss_tag_frequency": "[1]"}])
def test_nothing_said_is_nothing_found(notes, models, tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, file, metadata=notes)
    assert suggested_prompt(file, *models) is None
    assert suggested_prompt(tmp_path / "nowhere", *models) is None
