import torch

from intaglio.explain.blindspots.methods.dictionary import DictionaryEnergies
from intaglio.explain.sparse_autoencoder import trained_autoencoder
from intaglio.runs.run import Run

SMALL = {"concepts": 6, "active": 2, "updates": 4, "rows": 16, "batch": 4}
BAD = {"reach": -1.0}
PIECES = {"batch": 3}


def test_codes_count_the_length_of_their_atom():
    rows = torch.rand(40, 5, generator=torch.Generator().manual_seed(0))
    method = DictionaryEnergies(concepts=4, active=2, updates=3, rows=20)
    read = method.fit(rows, Run.none())
    plain = trained_autoencoder(rows, method._settings)
    torch.testing.assert_close(read.codes(rows), plain.codes(rows) * plain.dictionary.square().sum(1).sqrt())
    assert read.left == plain.left(rows)
    assert int((read.codes(rows) > 0).sum(1).max()) <= 2
