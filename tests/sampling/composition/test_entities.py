import pytest

from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path
from intaglio.sampling.composition.entities import composed_tokens, composition_of


def words(prompt, nouns=()):
    found = composition_of(prompt, nouns)
    entities = [(one.colour and prompt[slice(*one.colour)], prompt[slice(*one.noun)]) for one in found.entities]
    return entities, found.relation


@pytest.mark.parametrize(
    ("prompt", "entities", "relation"),
    [
        ("a red circle left of a blue square", [("red", "circle"), ("blue", "square")], "left of"),
        ("Pink cat  Below the white Dog", [("Pink", "cat"), ("white", "Dog")], "below"),
        ("a red circle and a blue square", [("red", "circle"), ("blue", "square")], None),
        ("a red cat", [("red", "cat")], None),
        ("a red, a blue and red or blue", [], None),
        ("tired cats, colored dogs", [], None),
        ("red one above red two above red three", [("red", "one"), ("red", "two"), ("red", "three")], None),
        ("", [], None),
    ],
)
def test_the_word_after_a_colour_s_is_an_entity(prompt, entities, relation):
    assert words(prompt) == (entities, relation)


def test_named_nouns_are_the_entities_and_keep_their_colours():
    assert words("a red sports car right of a dog on blue ice", ("car", "dog")) == (
        [("red", "car"), (None, "dog")],
        "right of",
    )
    assert words("a scar and a car", ("car",)) == ([(None, "car")], None)


def test_tokens_are_those_that_spell_the_words():
    tokenizer = load_model(base_path()).tokenizers[0]
    prompt = "a yellow triangle left of a purple rhinoceros"
    found, ids = composed_tokens(tokenizer, prompt), tokenizer(prompt).input_ids[1:-1]
    assert found.count == len(ids)
    assert found.relation == "left of"
    spelt = [
        ["".join(tokenizer.decode([ids[k] for k in places]).split()) for places in (one.colour, one.noun)]
        for one in found.entities
    ]
    assert spelt == [["yellow", "triangle"], ["purple", "rhinoceros"]]


def test_what_a_text_encoder_cuts_off_is_no_entity():
    tokenizer = load_model(base_path()).tokenizers[0]
    found = composed_tokens(tokenizer, "a red cat left of " + "very " * tokenizer.model_max_length + "blue dog")
    assert len(found.entities) == 1
    assert found.relation is None
    assert found.count == tokenizer.model_max_length - 2
