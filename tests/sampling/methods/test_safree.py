import math

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.concept_filter import filtered_rows, pooled, projector, prompt_tokens
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.safree import Safree

SMALL = {"concepts": "dog"}
BAD = {"alpha": -1.0}
PIECES = {}


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def model(request, tmp_path_factory):
    return load_model(getattr(tiny, f"{request.param}_folder")(tmp_path_factory.mktemp("models") / request.param))


def axes(*places, d=6):
    return torch.eye(d)[list(places)]


def test_a_token_on_the_concepts_axis_is_the_trigger_and_leaves_it():
    """Each masked prompt is the sum of the other tokens: without the token on axis 0 nothing of the concept is left."""
    tokens = axes(0, 1, 2) + 0.1 * axes(3, 3, 3)
    masked = tokens.sum(0) - tokens
    found = filtered_rows(tokens, masked, axes(0), alpha=0.01)
    assert found.triggers.tolist() == [True, False, False]
    assert found.rows[0, 0].abs() < 1e-6
    assert torch.equal(found.rows[1:], tokens[1:])


def test_the_formula_written_out():
    torch.manual_seed(0)
    hidden, masked, concepts = torch.randn(4, 8), torch.randn(4, 8), torch.randn(2, 8)
    off = torch.eye(8) - concepts.T @ torch.linalg.inv(concepts @ concepts.T) @ concepts
    within = masked.T @ torch.linalg.inv(masked @ masked.T) @ masked
    d = [float((off @ row).norm()) for row in masked]
    found = filtered_rows(hidden, masked, concepts, alpha=0.05)
    cosines = []
    for k in range(4):
        others = sum(d[j] for j in range(4) if j != k) / 3
        new = off @ within @ hidden[k]
        assert bool(found.triggers[k]) == (d[k] >= 1.05 * others)
        assert torch.allclose(found.rows[k], new if found.triggers[k] else hidden[k], atol=1e-4)
        cosines.append(float(torch.nn.functional.cosine_similarity(hidden[k], new, dim=0)))
    assert found.triggers.any()
    assert not found.triggers.all()
    assert found.distance == pytest.approx(1 - sum(cosines) / 4, abs=1e-5)


def test_near_equal_concepts_span_one_direction():
    one = axes(0)
    assert torch.allclose(projector(torch.cat([one, one + 1e-7])), projector(one), atol=1e-5)
    assert torch.allclose(projector(axes(0, 2)), torch.diag(torch.tensor([1.0, 0, 1, 0, 0, 0])).double(), atol=1e-9)


def test_prompts_of_one_token_and_of_none_have_no_trigger():
    one = filtered_rows(axes(0), axes(1), axes(0), 0.0)
    assert not one.triggers.any()
    none = filtered_rows(torch.zeros(0, 6), torch.zeros(0, 6), axes(0), 0.0)
    assert (len(none.rows), none.distance) == (0, 0.0)


def test_masked_prompts_are_those_with_the_padding_token(model):
    with torch.no_grad():
        for index, tokens in enumerate(prompt_tokens(model, "red cat dog")):
            ids = model.tokens(["red cat dog"])
            tokenizer = model.tokenizers[index]
            words = tokenizer(["red cat dog"]).input_ids[0]
            end = len(words) - 1
            assert len(tokens.hidden) == len(tokens.masked) == end - 1
            for place in range(1, end):
                changed = [one.clone() for one in ids]
                for one, other in zip(changed, model.tokenizers, strict=True):
                    one[0, place] = other.pad_token_id
                known = model.embed_tokens(changed).hidden[0, end, tokens.columns]
                assert torch.allclose(tokens.masked[place - 1], known, atol=1e-5)
            whole = model.embed(["red cat dog"]).hidden[0]
            assert torch.allclose(tokens.hidden, whole[1:end, tokens.columns], atol=1e-5)
        for tokens, found in zip(prompt_tokens(model, "dog"), pooled(model, ["dog", "red cat"]), strict=True):
            end = tokens.places.stop
            assert torch.allclose(found[0], model.embed(["dog"]).hidden[0, end, tokens.columns], atol=1e-5)


def state_of(model, prompts, **settings):
    with torch.no_grad():
        blank = model.embed([""])[[0] * len(prompts)]
        context = GuideContext(model, tuple(prompts), model.embed(prompts), blank, (900, 600, 300, 0), 3.0)
        return Safree(**{"concepts": "dog", **settings}).init(context)


def test_without_a_trigger_the_prompt_is_the_same_bit_for_bit(model):
    state = state_of(model, ["red cat"], alpha=1e6)
    assert torch.equal(state.filtered.hidden, state.plain.hidden)


def test_two_prompts_are_two_batches_of_one(model):
    both = state_of(model, ["red dog cat", "cat red"], alpha=0.0)
    one = state_of(model, ["cat red"], alpha=0.0)
    assert torch.allclose(both.filtered.hidden[3], one.filtered.hidden[1], atol=1e-5)
    assert both.nodes[1] == one.nodes[0]


def test_the_share_of_filtered_steps_follows_the_sigmoid():
    method = Safree(concepts="dog", upto=0.2)
    for distance in (0.0, 0.4, 0.5333, 0.7):
        known = round(10 / (1 + math.exp(-5 * (10 * distance - 5.333)))) + 1
        assert method._nodes(distance, 50) == known
    assert method._nodes(0.5333, 50) == 6
    assert method._nodes(1.0, 50) == 11


def test_the_filtered_prompt_serves_the_first_steps_alone(model):
    heard = []
    state = state_of(model, ["red dog cat"], alpha=0.0, upto=1.0, threshold=-100.0, slope=1.0)._replace(
        nodes=torch.tensor([2])
    )
    for t in (900, 600, 300):
        Safree(concepts="dog").step(
            state, torch.zeros(1, 4, 8, 8), torch.tensor([t]), lambda x, times, given: heard.append(given) or x
        )
    assert [torch.equal(given.hidden, state.filtered.hidden) for given in heard] == [True, True, False]
    assert torch.equal(heard[2].hidden, state.plain.hidden)
    assert not torch.equal(state.filtered.hidden, state.plain.hidden)


def test_no_concept_is_refused(model):
    with pytest.raises(BadInput, match="give --concepts"):
        sample(model, ["dog"], [0], steps=1, method=Safree())
