"""The loop that decoders share: batches, callbacks, inputs that do not fit, noise that overflows."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from flow_scenes import Frontier, GSJacobi, Jacobi, SelectiveJacobi, Sequential, exact_decoders, largest, latents, unit
from intaglio.errors import BadInput, IntaglioError
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.sampling import noise_of, sample_flow

LABELS = torch.tensor([0, 2, -1, 1])


def test_neither_noise_nor_labels_nor_model_are_touched():
    model = unit()
    z, labels = latents(model, 4), LABELS.clone()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for decoder in exact_decoders().values():
        decoder(model, z, labels=labels)
    assert torch.equal(z, latents(model, 4))
    assert torch.equal(labels, LABELS)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_two_threads_may_decode_with_one_model():
    model = unit()
    inputs = [latents(model, 4, seed) for seed in range(4)]
    for decoder in (Sequential(), Frontier(tolerance=1e-6), Jacobi(tau=1e-6)):
        apart = [decoder(model, z, labels=LABELS, denoise=False).patches for z in inputs]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(partial(decoder, model, labels=LABELS, denoise=False), inputs))
        assert [largest(one.patches, two) for one, two in zip(together, apart, strict=True)] == [0.0] * 4


def test_batches_in_parts_give_the_same_pictures():
    model = unit(double=False, noise_std=0.1)
    seeds, labels = range(5), torch.tensor([0, 1, 2, 0, 1])
    whole = sample_flow(model, seeds, Jacobi(), labels=labels)
    parts = sample_flow(model, seeds, Jacobi(batch=2), labels=labels)
    torch.testing.assert_close(parts.pictures.pixels, whole.pictures.pixels, atol=1e-5, rtol=0)
    assert parts.report.pictures == 5
    assert parts.pictures.names == ("00000.png", "00001.png", "00002.png", "00003.png", "00004.png")
    alone = sample_flow(model, [3], Jacobi(), labels=torch.tensor([0]))
    torch.testing.assert_close(alone.pictures.pixels[0], whole.pictures.pixels[3], atol=1e-5, rtol=0)


def test_seeded_noise_belongs_to_its_seed():
    model = unit(double=False)
    assert torch.equal(noise_of(model, [4, 5])[1], noise_of(model, [5])[0])
    assert not torch.equal(noise_of(model, [5])[0], noise_of(model, [5], attempt=1)[0])


def test_hidden_states_are_those_of_the_forward_pass():
    model = unit()
    found = Jacobi(rule="exact")(model, latents(model, 2), keep_hidden=True, denoise=False)
    forward = model(model.pictures(found.patches)).hidden
    assert len(found.hidden) == 4
    for one, two in zip(found.hidden, forward, strict=True):
        assert largest(one, two) < 1e-10


def test_watchers_see_every_pass_in_the_pictures_own_order():
    model, calls = unit(), []
    found = Sequential()(
        model, latents(model, 1), denoise=False, watch=lambda b, p, u, c: calls.append((b, p, c, u.clone()))
    )
    assert [entry[0] for entry in calls] == [2] * 15 + [1] * 15 + [0] * 15
    assert torch.equal(calls[-1][3], found.patches)
    assert calls[14][2] == 16


@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("must be \\[n, 16, 12\\]", lambda m: Sequential()(m, torch.zeros(2, 12, 16))),
        ("not finite", lambda m: Sequential()(m, torch.full((2, 16, 12), torch.nan))),
        ("0 to 2, or -1", lambda m: Sequential()(m, latents(m, 2), labels=torch.tensor([0, 3]))),
        ("0 to 2, or -1", lambda m: Sequential()(m, latents(m, 1), labels=torch.tensor([-2]))),
        ("a label each", lambda m: Sequential()(m, latents(m, 2), labels=torch.tensor([0]))),
        ("no block 7", lambda m: GSJacobi(hard_blocks=(7,))(m, latents(m, 1))),
        ("no block 3", lambda m: SelectiveJacobi(sequential_blocks=(3,))(m, latents(m, 1))),
    ],
)
def test_input_that_does_not_fit_is_named(sentence, call):
    with pytest.raises(BadInput, match=sentence):
        call(unit())


def test_labels_for_a_model_without_classes_are_refused():
    model = unit(num_classes=0)
    with pytest.raises(BadInput, match="without classes"):
        Sequential()(model, latents(model, 1), labels=torch.tensor([0]))


def test_guidance_without_a_contrast_and_noise_of_another_type_are_told(tmp_path, caplog):
    model = unit(num_classes=0, double=False)
    Sequential()(model, latents(model, 1).half(), guidance=Guidance(scale=1.0))
    assert "has no effect" in caplog.text
    assert "float16 and was converted" in caplog.text
    integers = torch.ones(1, 16, 12, dtype=torch.int64)
    assert Sequential()(model, integers).patches.dtype == torch.float32


def test_a_picture_that_overflows_is_named_or_drawn_again_alone():
    model = unit(spread=12.0, double=False, num_classes=0)
    seeds = range(6)
    with pytest.raises(IntaglioError, match="overflows while it is decoded"):
        sample_flow(model, seeds, Sequential(), denoise=False)
    calls = []
    z = latents(unit(double=False, num_classes=0), 3)
    calm = unit(double=False, num_classes=0)
    wild = z.clone()
    wild[1] = 3e38

    def redraw(index, attempt):
        calls.append((index, attempt))
        return z[1]

    found = Sequential()(calm, wild, denoise=False, redraw=redraw)
    exact = Sequential()(calm, z, denoise=False)
    assert calls == [(1, 1)]
    assert found.report.redrawn == (1,)
    torch.testing.assert_close(found.patches, exact.patches)
