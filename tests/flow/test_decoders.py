"""All decoders give the one inverse there is, whatever the model, the guidance and their settings."""

import pytest
import torch

from flow_scenes import (
    Frontier,
    GSJacobi,
    Jacobi,
    SelectiveJacobi,
    Sequential,
    exact_decoders,
    inverted_by_hand,
    largest,
    latents,
    unit,
)
from intaglio.errors import BadInput
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.models.capabilities import check_needs

LABELS = torch.tensor([0, 2, -1, 1])
every_decoder = pytest.mark.parametrize("name", exact_decoders())


@every_decoder
@pytest.mark.parametrize(
    "further",
    [{}, {"blocks": 2}, {"nvp": False}, {"num_classes": 0}, {"size": (4, 10)}, {"double": False}, {"size": (2, 2)}],
    ids=str,
)
def test_every_decoder_inverts_the_flow(name, further):
    model = unit(**further)
    blocks = model.config.num_blocks
    if "gs" in name and model.config.tokens == 1:
        return
    z = latents(model, 4)
    labels = LABELS if model.config.num_classes else None
    found = exact_decoders(blocks)[name](model, z, labels=labels, denoise=False).patches
    bound = 1e-10 if model.working_dtype == torch.float64 else 1e-4
    assert largest(found, inverted_by_hand(model, z, labels)) < bound
    assert largest(model(model.pictures(found), labels).latents, z) < bound


@every_decoder
@pytest.mark.parametrize(
    "guidance",
    [
        Guidance(scale=1.5),
        Guidance(scale=1.5, annealed=False, what="a"),
        Guidance(scale=3.0, rule="gaussian"),
        Guidance(scale=1.0, temperature=0.5, what="b"),
        Guidance(scale=2.0, blocks="first"),
    ],
    ids=str,
)
def test_every_decoder_inverts_the_guided_flow(name, guidance):
    model = unit(spread=0.1)
    z = latents(model, 4)
    found = exact_decoders()[name](model, z, labels=LABELS, guidance=guidance, denoise=False).patches
    exact = guided_by_hand(model, z, LABELS, guidance)
    assert largest(found, exact) < 1e-9
    assert largest(exact, inverted_by_hand(model, z, LABELS)) > 1e-3


def guided_by_hand(model, z, labels, guidance):
    """The guided inverse, with the formulas of the papers for single patches."""
    h = z
    for order, index in enumerate(reversed(range(model.config.num_blocks))):
        block = model.block(index)
        v = block.permuted(h)
        u = v[:, :1]
        for at in range(1, v.shape[1]):
            a, b = (part[:, -1:] for part in block.parameters_after(u, block.offset(labels)[:, :at]))
            if guidance.blocks == "all" or order == 0:
                scale = torch.full((len(u), 1, 1, 1), 1 / guidance.temperature, dtype=u.dtype)
                away = block.parameters_after(u, block.offset(None)[:, :at], query_scale=scale)
                a_u, b_u = (part[:, -1:] for part in away)
                g = guidance.scale * (at / (v.shape[1] - 1) if guidance.annealed else 1)
                if guidance.rule == "gaussian":
                    s = (a.exp() / a_u.exp()).clamp(max=1) ** 2
                    d = 1 + g - g * s
                    a, b = (a.exp() / d.sqrt()).log(), ((1 + g) * b - g * s * b_u) / d
                else:
                    a = a + g * (a - a_u) if "a" in guidance.what else a
                    b = b + g * (b - b_u) if "b" in guidance.what else b
            u = torch.cat([u, v[:, at : at + 1] * a.exp() + b], 1)
        h = block.permuted(u)
    return h


@pytest.mark.parametrize("decoder", [Jacobi(tau=1e-3), SelectiveJacobi(tau=0.1), Jacobi(tau=1e-2, rule="estimate")])
def test_a_pictures_result_does_not_depend_on_its_neighbours(decoder):
    model = unit(spread=0.3)
    z = latents(model, 5)
    together = decoder(model, z, labels=torch.tensor([0, 1, 2, -1, 0]), denoise=False).patches
    for row, label in enumerate([0, 1, 2, -1, 0]):
        alone = decoder(model, z[row : row + 1], labels=torch.tensor([label]), denoise=False).patches
        torch.testing.assert_close(alone[0], together[row], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("seed", [16, 32, 38])
@pytest.mark.parametrize(
    "decoder",
    [
        Jacobi(rule="exact"),
        Jacobi(tau=1e-6),
        Jacobi(rule="estimate", tau=1e-6),
        Frontier(tolerance=0.0, window=8),
        Frontier(tolerance=1e-6, window=15),
    ],
    ids=str,
)
def test_sweeps_that_overflow_on_the_way_still_end_at_the_answer(seed, decoder):
    model = unit(spread=0.6, seed=seed, double=False, blocks=1)
    z, labels = latents(model, 2, seed), torch.tensor([0, 1])
    exact = inverted_by_hand(model, z, labels)
    assert exact.isfinite().all()
    plain, inverse = z.clone(), BlockInverse(model.block(0), 2, labels)
    for _ in range(15):
        a, b = inverse.parameters(plain[:, :-1])
        plain = torch.cat([plain[:, :1], z[:, 1:] * a.exp() + b], 1)
    assert not plain.isfinite().all(), "plain sweeps do not overflow here, so this would show nothing"
    found = decoder(model, z, labels=labels, denoise=False)
    assert largest(found.patches, exact) < 1e-3 * float(exact.abs().max())
    assert sum(block.clamped for block in found.report.blocks) > 0


@pytest.mark.parametrize("count", [0, 1])
def test_no_pictures_and_a_single_patch_are_no_special_cases(count):
    model = unit(size=(4, 4), patch=4)
    for decoder in (Sequential(), Jacobi(), Frontier(), SelectiveJacobi(), GSJacobi()):
        found = decoder(model, latents(model, count), denoise=False)
        assert found.patches.shape == (count, 1, 48)
        assert torch.equal(found.patches, latents(model, count))
        assert len(found.pictures) == count
    whole = unit()
    assert Frontier()(whole, latents(whole, 0)).patches.shape == (0, 16, 12)


def test_odd_windows_and_segments():
    model = unit()
    z = latents(model, 2)
    exact = Sequential()(model, z, denoise=False).patches
    for decoder in (
        Frontier(tolerance=0.0, window=15),
        Frontier(tolerance=0.0, window=999),
        Jacobi(max_sweeps=99, tau=0.0),
        *(GSJacobi(segments=(count,), sweeps=(99,), other_sweeps=99, epsilon=0.0) for count in (0, 1, 2, 14, 15, 99)),
    ):
        assert largest(decoder(model, z, denoise=False).patches, exact) < 1e-10, decoder


@pytest.mark.parametrize("decoder", [Sequential, Jacobi, SelectiveJacobi, GSJacobi, Frontier])
def test_a_batch_of_none_is_refused(decoder):
    with pytest.raises(ValueError, match="batch"):
        decoder(batch=0)


def test_a_model_that_is_no_flow_is_refused():
    with pytest.raises(BadInput, match="sequential needs a model that gives pictures an exact likelihood"):
        check_needs(SequentialDecoder(), object())
