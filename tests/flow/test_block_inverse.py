"""The inverse of one block: sweeps from any guess, clamped patches, the certificate."""

import pytest
import torch

from flow_scenes import Jacobi, largest, one_block, unit
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import BlockInverse, limits, step
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import sweep
from intaglio.flow.results import BlockReport


def test_after_t_sweeps_patches_up_to_t_are_exact_from_any_finite_guess():
    model = unit(spread=0.3)
    inverse, v, exact = one_block(model)
    u = 5 * torch.randn(v.shape, dtype=v.dtype, generator=torch.Generator().manual_seed(4))
    u[:, 0] = v[:, 0]
    states = []
    sweep(
        inverse,
        v,
        u,
        Stopping.of("exact", 0.0, v),
        15,
        BlockReport(0, ""),
        lambda u, final: states.append((u.clone(), final)),
    )
    for count, (state, final) in enumerate(states, 1):
        assert final == min(count + 1, 16)
        assert largest(state[:, :final], exact[:, :final]) < 1e-12
    assert len(states) <= 15


def test_a_guess_with_a_wrong_first_patch_needs_one_sweep_more():
    model = unit(spread=0.3)
    inverse, v, exact = one_block(model)
    u = torch.zeros_like(v)
    for _ in range(16):
        before = largest(u, exact)
        a, b = inverse.parameters(u[:, :-1])
        u = torch.cat([v[:, :1], v[:, 1:] * a.exp() + b], 1)
    assert largest(u, exact) < 1e-12 < before


def test_a_patch_that_is_clamped_has_not_converged():
    """Clamped to its limit twice, a patch does not change, which must not pass for an answer."""
    v = torch.ones(1, 4, 2)
    far = (torch.full((1, 3, 2), 9.0), torch.zeros(1, 3, 2))
    inverse = BlockInverse(unit(double=False, patch=4, num_classes=0).block(0), 1)
    one, clamped = step(v[:, 1:], far, 1, limits(v), inverse.counts)
    two, again = step(v[:, 1:], far, 1, limits(v), inverse.counts)
    assert torch.equal(one, two)
    assert clamped is not None
    assert clamped.tolist() == [[False, True, True]] == again.tolist()
    assert one[0, 0, 0] == pytest.approx(torch.tensor(9.0).exp().item())
    assert one[0, 1:].abs().max() <= 10
    stopping = Stopping.of("change", 1.0, v)
    assert not stopping.done(two, two - one, again).any()
    assert inverse.counts.clamped == 4


def test_the_certificate_proves_an_answer_and_flags_a_wrong_patch():
    model = unit(spread=0.3)
    inverse, v, exact = one_block(model)
    assert float(inverse.residual(exact, v).max()) < 1e-12
    wrong = exact.clone()
    wrong[1, 7, 3] += 0.01
    found = inverse.residual(wrong, v)
    assert found[1] > 1e-3
    assert float(found[[0, 2]].max()) < 1e-12
    guided = Jacobi(rule="exact", certify=True)(
        model, v, labels=torch.tensor([0, 2, -1]), guidance=Guidance(scale=1.0), denoise=False
    )
    assert guided.report.residual < 1e-12
