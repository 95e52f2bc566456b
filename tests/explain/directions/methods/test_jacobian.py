import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.explain.directions.jacobian_products import SiteJacobian
from intaglio.explain.directions.methods.jacobian import JacobianDirections
from intaglio.explain.directions.singular_directions import singular_directions
from intaglio.models.diffusion.loading import load_model
from intaglio.models.module_edits import ModuleEdit, edited
from intaglio.models.module_outputs import outputs_of

SMALL = {"steps": 2, "every": 1, "count": 1, "iterations": 1}
BAD = {"size": 0.0}
PIECES = {}


def test_singular_vectors_of_a_known_decoder_are_found_by_its_products():
    source = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 6, generator=source).double()).Q for n in (30, 12))
    sizes = torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.2]).double()
    matrix = left @ torch.diag(sizes) @ right.T
    start = torch.randn(5, 3, 2, 2, generator=source).double()
    options = {"iterations": 60, "tolerance": 1e-9}
    found, values, _ = singular_directions(
        lambda v: v.flatten(1) @ matrix.T, lambda u: (u @ matrix).unflatten(1, (3, 2, 2)), start, **options
    )
    torch.testing.assert_close(values[:3].double(), sizes[:3], atol=1e-5, rtol=0)
    overlap = (found[:3].flatten(1) @ right[:, :3]).abs()
    torch.testing.assert_close(overlap, torch.eye(3).double(), atol=1e-5, rtol=0)


def test_products_are_those_of_the_denoiser_in_both_directions(tmp_path):
    """J v against a difference quotient, and <u, J v> = <u J, v>."""
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    source = torch.Generator().manual_seed(0)
    latents, t = torch.randn(1, 4, 8, 8, generator=source), torch.tensor([500])
    with torch.no_grad(), model.frozen():
        given = model.embed(["cat"])
        with outputs_of([model.denoiser.mid_block]) as seen:
            model.predict(latents, t, given)
        value = seen[0][0]
        jacobian = SiteJacobian(model, "mid_block", latents, t, given, value)
        v = torch.randn(2, *value.shape, generator=source)
        u = torch.randn(2, latents.numel(), generator=source)
        products, pulled = jacobian.forward(v), jacobian.backward(u)

        def noise(h):
            with edited(model.denoiser, [ModuleEdit("mid_block", lambda *_: h[None])], 500):
                return model.predict(latents, t, given).flatten()

        step = 1e-2
        quotient = torch.stack([(noise(value + step * one) - noise(value - step * one)) / (2 * step) for one in v])
    torch.testing.assert_close(products, quotient, atol=2e-3, rtol=2e-2)
    torch.testing.assert_close((u * products).sum(1), (pulled * v).flatten(1).sum(1), atol=1e-4, rtol=1e-4)
    assert not model.denoiser.mid_block._forward_hooks


def test_shifts_have_the_asked_share_of_the_activations_and_stay_between_steps(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    found = JacobianDirections(steps=2, every=2, count=2, iterations=1, size=0.3)(model, ["cat"], seeds=[1, 5])
    assert found.shifts.shape[:3] == (2, 2, 2)
    assert torch.equal(found.shifts[:, :, 0], found.shifts[:, :, 1])
    lengths = found.lengths
    torch.testing.assert_close(lengths[:, 0], lengths[:, 1])  # of either direction: of the picture's activations
    assert found.numbers[0] >= found.numbers[1] > 0
    assert float((found.shifts[0] - found.shifts[1]).abs().max()) > 0  # each picture has its own
    with pytest.raises(BadInput, match="there is none; give --pictures 1"):
        JacobianDirections()(model, ["cat"])
