from dataclasses import replace

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.attention_maps import recorded_maps
from intaglio.sampling.calls import Calls
from intaglio.sampling.composition.attention_losses import composition_loss
from intaglio.sampling.composition.entities import composed_tokens
from intaglio.sampling.composition.second_pass import SecondPass
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.composition import CompositionGuidance, limited, map_of_side
from intaglio.sampling.loop import sample
from intaglio.sampling.methods import compose
from intaglio.sampling.methods.compose import Compose
from intaglio.sampling.scenes.grammar import Entity, Scene, scene_of
from intaglio.sampling.scenes.planted import PlantedScene
from intaglio.sampling.scenes.recognition import checked, seen_objects

SMALL = {}
BAD = {"limit": 0.0}
PIECES = {}
VARIANTS = {"named nouns": {"SMALL": {"nouns": ("cat", "dog"), "share": 1.0}, "BAD": {"share": 2.0}, "PIECES": {}}}
SCENE = "a red circle left of a blue square"
PAIR = "red cat, red dog"
long = pytest.mark.filterwarnings("ignore:only 10 of")
"""The small model reads ten tokens, of a scene its first entity."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


def started(model, prompts, guide, count=4):
    given, calls = model.embed(prompts), Calls()
    context = GuideContext(model, tuple(prompts), given, model.embed([""] * len(prompts)), tuple(range(count)), 5.0)
    context = replace(context, calls=calls)
    x = torch.randn(len(prompts), 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return guide.init(context), x, torch.full((len(prompts),), 600), calls.counted(model.predict)


def guidance(**changes):
    return CompositionGuidance(**{"rate": 20.0, "share": 0.5, "limit": 0.02, "side": 16, **changes})


# Moves


def test_prompts_without_entities_are_plain_to_the_last_bit(model):
    prompts, options = ["dog", "cat"], {"steps": 4, "sampler": "dpm++2m"}
    plain = sample(model, prompts, [1, 2], **options).pixels
    for method, words in ((Compose(), prompts), (Compose(rate=0.0), ["red cat", "blue dog"])):
        calls = Calls()
        expected = plain if words is prompts else sample(model, words, [1, 2], **options).pixels
        assert torch.equal(sample(model, words, [1, 2], method=method, calls=calls, **options).pixels, expected)
        assert calls.backward == (0 if words is prompts else 4)
    alone = Compose(nouns=("dog",))  # a single noun has nothing to be kept apart from
    assert torch.equal(sample(model, prompts, [1, 2], method=alone, **options).pixels, plain)
    assert not torch.equal(sample(model, ["red cat and blue dog"], [1], method=Compose(), **options).pixels, plain[:1])


def test_each_picture_moves_by_its_own_gradient_and_no_farther_than_the_limit(model):
    prompts = [PAIR, "dog", "red cat"]
    for rate, limit in ((1e4, 0.02), (1e-3, 10.0)):
        guide = guidance(rate=rate, limit=limit)
        state, x, t, predict = started(model, prompts, guide)
        after, moved = guide.move(state, x, t, predict)
        step = (moved - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        assert after.node == 1
        assert torch.equal(moved[1], x[1])
        assert step[[0, 2]].min() > 0
        assert step.max() <= 0.02 + 1e-5
        if rate > 1:
            assert torch.allclose(step[[0, 2]], torch.tensor(0.02), rtol=1e-3)
        alone = guidance(rate=rate, limit=limit)
        state, _, t, predict = started(model, prompts[2:], alone)
        assert torch.allclose(alone.move(state, x[2:], t, predict)[1], moved[2:], atol=1e-5)


def test_moves_go_down_the_losses_gradient_and_end_with_the_share(model):
    guide = guidance(rate=1.0, limit=1e3)
    state, x, t, predict = started(model, [PAIR], guide)
    moved = guide.move(state, x, t, predict)[1]
    later = guide.move(replace(state, node=1), x, t, predict)[1]
    assert ((later - x).norm() / (moved - x).norm()).item() == pytest.approx((1 - 1 / 6) ** 0.5, rel=0.01)
    assert torch.equal(guide.move(replace(state, node=2), x, t, predict)[1], x)
    assert loss(model, moved, t) < loss(model, x, t)


def loss(model, x, t):
    tokens = composed_tokens(model.tokenizers[0], PAIR)
    with torch.no_grad(), recorded_maps(model.denoiser) as maps:
        model.predict(x, t, model.embed([PAIR]))
    return composition_loss(map_of_side(maps, 16)[0, 1 : 1 + tokens.count].double(), tokens)


def test_a_faulty_entity_adds_a_move_at_the_first_node_alone(model):
    guide = guidance(faulty=((1,), ()), share=0.0)
    state, x, t, predict = started(model, [PAIR, PAIR], guide)
    moved = guide.move(state, x, t, predict)[1]
    assert not torch.equal(moved[0], x[0])
    assert torch.equal(moved[1], x[1])
    assert state.context.calls == Calls(forward=1, backward=1)
    assert torch.equal(guide.move(replace(state, node=1), x, t, predict)[1], x)


def test_hooks_are_gone_after_an_error(model, monkeypatch):
    def failing(*given):
        raise ZeroDivisionError

    monkeypatch.setattr("intaglio.sampling.guides.composition.composition_loss", failing)
    with pytest.raises(ZeroDivisionError):
        sample(model, [PAIR], [0], steps=2, method=Compose())
    assert not any(module._forward_pre_hooks for module in model.denoiser.modules())


def test_maps_are_the_finest_within_the_side_and_steps_are_shortened_a_row_each():
    maps = [torch.full((1, places, 2), float(places)) for places in (64, 16, 16, 4)]
    assert [map_of_side(maps, side).shape[-1] for side in (16, 8, 7, 4, 1)] == [8, 8, 4, 4, 2]
    assert map_of_side([*maps, 3 * maps[1]], 4).unique().item() == pytest.approx(16 * (1 + 1 + 3) / 3)
    steps, x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), torch.tensor([[10.0, 0.0]] * 3)
    assert torch.allclose(limited(steps, x, 0.1), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


# Drawn again


@long
def test_what_is_no_better_the_second_time_is_left_and_all_calls_are_counted(model):
    calls, options = Calls(), {"steps": 4, "guidance_scale": 3.0}
    found = sample(model, [SCENE], [3], method=Compose(again=True), calls=calls, **options).pixels
    assert torch.equal(found, sample(model, [SCENE], [3], method=Compose(), **options).pixels)
    walk = Calls(forward=4 * 2 + 2, backward=2)
    assert calls == walk + walk + Calls(forward=1, backward=1, decodes=2, verifications=2)


def planted(*objects):
    entities = tuple(Entity(*words.split()) for words, *_ in objects)
    return PlantedScene(
        Scene(entities, None), tuple((float(x), float(y), float(side)) for _, x, y, side in objects)
    ).pixels()


@long
def test_what_is_better_the_second_time_is_kept_of_pictures_that_lack_an_entity(model, monkeypatch):
    right, half = (("red circle", 14, 30, 20), ("blue square", 48, 30, 20)), (("blue square", 48, 30, 20),)
    passes = [[half, right, half], [right, half, half]]

    def judged(batch, latents):
        return [checked(scene_of(SCENE), seen_objects(planted(*objects))) for objects in passes.pop(0)]

    first = sample(model, [SCENE] * 3, [3, 4, 5], steps=2, method=Compose()).pixels
    monkeypatch.setattr(compose, "_judged", judged)
    method = Compose(again=True)
    found = sample(model, [SCENE] * 3, [3, 4, 5], steps=2, method=method).pixels
    assert [torch.equal(a, b) for a, b in zip(found, first, strict=True)] == [False, True, True]
    assert (
        method.reading_of([SecondPass(2, 1, 0), SecondPass(1, 1, 1)])
        == "2 of 3 pictures lacked an entity and were drawn again; 1 are better for it"
    )


@long
def test_prompts_and_settings_that_do_not_go_together(model):
    with pytest.raises(BadInput, match="'dog' is no caption of a scene"):
        sample(model, [SCENE, "dog"], [0, 1], steps=2, method=Compose(again=True))
    with pytest.raises(ValueError, match="again takes the entities"):
        Compose(again=True, nouns=("cat",))
    with pytest.raises(ValueError, match="nouns must be words"):
        Compose(nouns=("",))
