import torch

from direction_scenes import planted_walks
from intaglio.explain.directions.methods.random import RandomDirections

SMALL = {"samples": 6, "batch": 2, "steps": 2, "count": 2}
BAD = {"count": 0}
PIECES = {"batch": 1}


def test_directions_are_as_long_as_the_first_deviation_and_point_elsewhere():
    values = torch.randn(20, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    shifts, _ = RandomDirections(count=2).shifts(planted_walks(values), {}, None)
    first = torch.stack([torch.linalg.matrix_norm((one - one.mean(0)).flatten(1), 2) for one in values.unbind(1)])
    torch.testing.assert_close(shifts.flatten(2).norm(dim=2), (first / 19**0.5).expand(2, 2))
    units = torch.nn.functional.normalize(shifts.flatten(2), dim=2)
    torch.testing.assert_close(units[:, 0], units[:, 1])  # the same at every step
    assert abs(float(units[0, 0] @ units[1, 0])) < 0.9
