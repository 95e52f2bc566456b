import numpy as np

from intaglio.explain.surrogate.family import RankedColumns
from intaglio.explain.surrogate.methods.principal_columns import PrincipalColumns

SMALL = {"trees": 5, "most": 4, "depth": 2}
BAD = {"held_out": 0.9}
PIECES = {}


def test_the_columns_nearest_to_the_first_two_components():
    source = np.random.default_rng(0)
    common, other = source.standard_normal((2, 400))
    noise = source.standard_normal((5, 400))
    columns = [common + 1.5 * noise[0], common + 0.1 * noise[1], common + noise[2], other + 0.7 * noise[3], other]
    features = np.stack(columns, 1).astype(np.float32)
    members = tuple(np.array([k]) for k in range(5))
    found = PrincipalColumns(most=2).scores(RankedColumns(features, np.ones((400, 1)), features, members, None, 1, 0))
    order = np.argsort(-found["component"], kind="stable")
    assert order[0] == 1
    assert order[1] in (3, 4)
    assert np.count_nonzero(found["component"]) == 2
