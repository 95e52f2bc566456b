import torch

import explain_scenes
from intaglio.explain.filter_chain import FilterEdge, filter_chain
from intaglio.explain.paths.methods.gradient_edges import GradientEdges
from intaglio.explain.paths.methods.interventions import EdgeInterventions

SMALL = {"screened": 4, "flips": 200}
BAD = {"rate": 1.0}
PIECES = {"batch": 3}


def test_where_the_score_is_linear_in_an_edge_the_gradient_gives_the_measured_fall():
    """ReLUs of the chain stay on, and the logit is linear: first order is exact, also at the head."""
    scored = explain_scenes.chained()
    object.__setattr__(scored, "score_of", "logit")
    pixels = explain_scenes.reds().pixels
    chain = filter_chain(scored, 0, 2, pixels[1::2], batch=5)
    edges = [FilterEdge(layer, i, j) for layer in range(2) for j in range(3) for i in range(3)]
    edges += [FilterEdge(2, i, 0) for i in range(3)]
    exact = EdgeInterventions().effects(chain, edges, pixels[:6:2])
    torch.testing.assert_close(GradientEdges().effects(chain, edges, pixels[:6:2]), exact, rtol=1e-4, atol=1e-5)
    assert float(exact[:, 0].min()) > 1
