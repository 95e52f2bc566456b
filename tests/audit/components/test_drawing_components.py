"""Components of a drawing: what each changes, in whatever order they are given, and nothing where it is off."""

import pytest
import torch

import tiny
from intaglio.audit.components.audit import audit_components
from intaglio.audit.components.drawing_components import (
    Adapter,
    AddedWords,
    Drawing,
    GuidanceScale,
    TunedWeights,
    with_components,
)
from intaglio.audit.components.methods.switched_off import SwitchedOff
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import StructuralSimilarity, load_similarity
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base, suspect = tiny.pair_folders(tmp_path_factory.mktemp("pair"))
    return load_model(base), load_model(suspect)


def some_lora(model, seed):
    lora = LoRA.new(model, 2, 2.0, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for _, _, layer in lora.pairs():
            layer.up.normal_(std=0.2, generator=torch.Generator().manual_seed(seed + 1))
    return lora


def predicted(model):
    latents = torch.randn(2, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.predict(latents, torch.tensor([7, 300]), model.embed(["cat"])[[0, 0]])


def test_two_adapters_and_weights_act_together_in_any_order(models):
    base, tuned = models
    parts = [Adapter(some_lora(base, 3)), TunedWeights(tuned), Adapter(some_lora(base, 8))]
    drawing = Drawing(base, ("cat",), 1.0)
    wanted = tuned
    for one in (parts[0], parts[2]):
        wanted = one.lora.merged_into(wanted.copy(), 1.0)
    both = with_components(drawing, parts, 7).model
    torch.testing.assert_close(predicted(both), predicted(wanted), atol=1e-5, rtol=1e-4)
    turned = with_components(drawing, parts[::-1], 7).model
    torch.testing.assert_close(predicted(turned), predicted(both), atol=1e-5, rtol=1e-4)
    before = predicted(base)
    assert with_components(drawing, parts, 0) == drawing
    assert torch.equal(predicted(base), before), "the model that is given is left as it was"
    alone = [predicted(with_components(drawing, parts, 1 << i).model) for i in range(3)]
    assert all((one - before).abs().max() > 1e-3 for one in alone)


def test_words_and_guidance(models):
    drawing = Drawing(models[0], ("a", "b"), 1.0)
    found = with_components(drawing, [AddedWords(", in red"), GuidanceScale(4.0), AddedWords(" ink")], 7)
    assert found.prompts == ("a, in red ink", "b, in red ink")
    assert found.scale == 4
    guided = with_components(drawing, [AddedWords("x"), GuidanceScale(4.0)], 2)
    assert (guided.prompts, guided.scale) == (("a", "b"), 4.0)


def test_every_set_is_drawn_from_the_same_seeds(models):
    """A component that changes nothing draws the same pictures, so that its effect is 0 exactly."""
    base, tuned = models
    parts = {"nothing": Adapter(LoRA.new(base, 1, 1.0)), "tuned": TunedWeights(tuned)}
    target = ImageSet.from_pixels(tiny.pixels(4))
    drawing, encoder = Drawing(base, ("cat", "dog"), 1.0), load_similarity("embedded")
    method = SwitchedOff(pictures=8, resamples=100)
    found = audit_components(method, drawing, parts, target, encoder, steps=2)
    assert found.components[0].effect == (0, 0, 0)
    assert found.components[1].effect.value != 0
    again = audit_components(SwitchedOff(pictures=8, resamples=100, seed=1), drawing, parts, target, encoder, steps=2)
    assert again.values[0] != found.values[0]


def test_a_measure_of_pairs_alone_is_refused(models):
    target = ImageSet.from_pixels(tiny.pixels(2))
    parts = {"a": AddedWords("a"), "b": AddedWords("b")}
    with pytest.raises(BadInput, match="compared by descriptors, which ssim has not"):
        audit_components(SwitchedOff(), Drawing(models[0], ("x",), 1.0), parts, target, StructuralSimilarity())
