import numpy as np

from intaglio.explain.heads.methods.prototype_head import PrototypeHead, nearest_own

SMALL = {"folds": 3, "strengths": (0.1,), "side": 2, "batch": 8, "each": 2, "steps": 10}
BAD = {"each": 0}
PIECES = {"batch": 4}


def test_planted_prototypes_are_found():
    random = np.random.default_rng(0)
    centres = 6 * random.standard_normal((6, 8))
    rows = np.repeat(centres, 11, 0)
    noise = random.standard_normal((6, 5, 8))
    rows += np.concatenate([np.zeros((6, 1, 8)), noise, -noise], 1).reshape(-1, 8)  # the first of each is its middle
    truth = np.repeat([0, 0, 1, 1, 2, 2], 11)
    head = PrototypeHead(each=2).fitted(rows[:, None], truth, np.arange(66), 3)
    assert sorted(head.kept.tolist()) == [0, 11, 22, 33, 44, 55]
    assert head.owner.tolist() == [0, 0, 1, 1, 2, 2]
    assert (truth[head.kept] == head.owner).all()
    assert (head.predict(rows[:, None]) == truth).all()
    assert head.sizes(rows[:1, None]).tolist() == [6.0]
    told = head.explained(rows[:, None], [f"{k:02d}" for k in range(66)], truth, ("a", "b", "c"))
    assert [(heading, set(names)) for heading, names in told.pictures] == [
        ("a", {"00", "11"}), ("b", {"22", "33"}), ("c", {"44", "55"})
    ]  # fmt: skip


def test_names_are_those_of_the_sum_of_softmax_shares():
    random = np.random.default_rng(2)
    rows, truth = random.standard_normal((40, 3)), np.arange(40) % 2
    head = PrototypeHead(each=3, steps=20).fitted(rows[:, None], truth, np.arange(40), 2)
    scaled = (rows - rows.mean(0)) / rows.std(0)
    distances = ((scaled[:, None] - scaled[head.kept][None]) ** 2).sum(2) / 3
    weights = np.exp(-head.sharpness * distances)
    shares = weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(head.shares(rows[:, None]), shares, rtol=1e-9)
    sums = np.stack([shares[:, head.owner == code].sum(1) for code in (0, 1)], 1)
    assert (head.predict(rows[:, None]) == sums.argmax(1)).all()


def test_two_prototypes_never_become_one_picture_nor_one_of_another_class():
    rows = np.array([[0.0], [1.0], [0.1]])
    truth = np.array([0, 0, 1])
    assert nearest_own(np.array([[0.1], [0.2]]), np.array([0, 0]), rows, truth).tolist() == [0, 1]
    assert nearest_own(np.array([[0.9], [0.8]]), np.array([0, 0]), rows, truth).tolist() == [1, 0]
