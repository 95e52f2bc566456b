from intaglio.explain.slices.methods.look_clusters import LookClusters
from slice_scenes import rows

SMALL = {"clusters": 4, "batch": 16}
BAD = {"clusters": 1}
PIECES = {"batch": 7}


def test_the_cluster_of_the_mistaken_look_comes_first_and_right_pictures_rank_behind_wrong_ones():
    given = rows()
    first = LookClusters(clusters=4).find(given)[0]
    ranked = first.ranked(given)
    inside = ranked > 0
    assert given.wrong[inside].mean() > 0.8
    assert set(ranked[inside & given.wrong]) == {1.0}
    assert set(ranked[inside & ~given.wrong]) <= {0.5}
