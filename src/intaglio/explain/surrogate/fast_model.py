"""A fast model of a black box: extremely randomised trees, and what it loses without the order of one column."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.randomness import seed_32bit

Predict = Callable[[Float[ndarray, "m d"]], Float[ndarray, "m k"]]

TRIED = 20
"""Columns that a split is chosen from at least, where there are so many; else a third of all."""


class FastModel:
    """A forest of extremely randomised trees that is fitted to probabilities.

    Args:
        features: of n rows.
        answers: probabilities.
        trees: of the forest, from 1.
        seed: from 0; with `label` it decides all that is drawn.
        label: of the fit.
    """

    def __init__(
        self, features: Float[ndarray, "n d"], answers: Float[ndarray, "n k"], trees: int, seed: int, label: str
    ):
        from sklearn.ensemble import ExtraTreesRegressor

        tried = min(features.shape[1], max(TRIED, features.shape[1] // 3))
        source = seed_32bit(seed, "fast model", label)
        self._forest = ExtraTreesRegressor(trees, max_features=tried, min_samples_leaf=3, random_state=source, n_jobs=1)
        self._forest.fit(features, answers)

    def __call__(self, features: Float[ndarray, "m d"]) -> Float[ndarray, "m k"]:
        """Predicted probabilities."""
        return np.mean([one.tree_.predict(features)[..., 0] for one in self._forest.estimators_], 0)

    @property
    def impurity(self) -> Float[ndarray, "d"]:
        """Share of the fall of the squared error, over all splits, that is by each column."""
        return np.asarray(self._forest.feature_importances_)

    def drops(
        self, features: Float[ndarray, "m d"], answers: Float[ndarray, "m k"], shuffles: Int[ndarray, "s m"]
    ) -> Float[ndarray, "d"]:
        """Mean rise of the squared error, summed over classes, when one column's values are shuffled between rows.

        The same as that of `permutation_drops` of the forest, by asking only those trees that split on the column.
        """
        trees = [one.tree_ for one in self._forest.estimators_]
        each = [tree.predict(features)[..., 0] for tree in trees]
        whole = np.mean(each, 0)
        moved = np.zeros((features.shape[1], len(shuffles)))
        users: dict[int, list[int]] = {}
        for number, tree in enumerate(trees):
            for column in np.unique(tree.feature[tree.feature >= 0]):
                users.setdefault(int(column), []).append(number)
        base = ((whole - answers) ** 2).sum(1).mean()
        stacked = np.tile(features, (len(shuffles), 1))
        for column, using in users.items():
            stacked[:, column] = features[shuffles, column].ravel()
            change = sum(trees[k].predict(stacked)[..., 0] - np.tile(each[k], (len(shuffles), 1)) for k in using)
            found = np.tile(whole, (len(shuffles), 1)) + change / len(trees)
            error = ((found - np.tile(answers, (len(shuffles), 1))) ** 2).sum(1)
            moved[column] = error.reshape(len(shuffles), -1).mean(1) - base
            stacked[:, column] = np.tile(features[:, column], len(shuffles))
        return moved.mean(1)


def permutation_drops(
    ask: Predict,
    features: Float[ndarray, "m d"],
    answers: Float[ndarray, "m k"],
    shuffles: Int[ndarray, "s m"],
    groups: Sequence[Int[ndarray, "_"]],
) -> Float[ndarray, "g"]:
    """Mean rise of a model's squared error, summed over classes, when a group's columns are shuffled between rows.

    Args:
        ask: the model.
        features: of m rows.
        answers: probabilities of these rows, which errors are of.
        shuffles: orders of the rows, the same for all groups.
        groups: columns that are shuffled together.
    """
    base = ((ask(features) - answers) ** 2).sum(1).mean()
    found = np.zeros(len(groups))
    stacked, wanted = np.tile(features, (len(shuffles), 1)), np.tile(answers, (len(shuffles), 1))
    for number, columns in enumerate(groups):
        stacked[:, columns] = features[shuffles.ravel()][:, columns]
        found[number] = ((ask(stacked) - wanted) ** 2).sum(1).mean() - base
        stacked[:, columns] = np.tile(features[:, columns], (len(shuffles), 1))
    return found
