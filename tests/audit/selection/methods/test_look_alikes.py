import torch

from influence_scenes import examples
from intaglio.audit.selection.methods.look_alikes import LookAlikes
from intaglio.metrics.similarity.measures import load_similarity

SMALL = {"size": 2}
BAD = {"similarity": " "}
PIECES = {}


def test_scores_are_mean_similarities_and_a_copy_comes_first():
    net, train, queries = examples()
    found = LookAlikes(size=1)(net, train, queries)
    matrix = load_similarity("embedded").matrix(train.images.pixels, queries.images.pixels)
    torch.testing.assert_close(found.scores, matrix.double().mean(1), rtol=1e-4, atol=1e-6)
    one = type(queries)(queries.images[[1]], queries.prompts[1:], queries.latents[[1]])
    assert LookAlikes(size=1)(net, train, one).places == (2,)  # the third candidate is that picture
