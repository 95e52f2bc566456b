import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.explain.picture_columns import read_features, read_labels

NAMES = ("a.png", "b.png")


def test_features_come_from_a_table_and_from_arrays_alike(tmp_path):
    (tmp_path / "f.csv").write_text("one, picture ,two\n1,b.png,2\n 3 ,a.png,4e0\n5,more.png,6\n")
    np.savez(tmp_path / "f.npz", names=np.array(["b.png", "a.png"]), features=np.array([[1, 2], [3, 4]]))
    for name in ("f.csv", "f.npz"):
        assert read_features(tmp_path / name, NAMES).tolist() == [[3, 4], [1, 2]]


def test_labels_may_be_missing(tmp_path):
    (tmp_path / "l.csv").write_text("picture,kind,hand\nb.png, x ,\n")
    assert read_labels(tmp_path / "l.csv", NAMES) == {"kind": ["", "x"], "hand": ["", ""]}
    with pytest.raises(BadInput, match="no row for any of the pictures"):
        read_labels(tmp_path / "l.csv", ("c.png",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("picture,x\na.png,1\n", "no row for b.png"),
        ("picture,x\na.png,1\nb.png,red\n", "has 'red' in the row of b.png"),
        ("picture,x\na.png,1\nb.png,nan\n", "not finite in the row of b.png"),
        ("picture,x\na.png,1\na.png,2\n", "two rows for a.png"),
        ("picture,x\na.png\n", "line 2 of .* has not 2 cells"),
        ("picture,x\na.png,1,2\n", "line 2 of .* has not 2 cells"),
        ("name,x\na.png,1\n", "no column picture; its first line has name, x: let picture head"),
        ("picture\na.png\n", "no column beside picture"),
        ("picture,x,x\na.png,1,2\n", "two columns called x"),
        ("picture,x\n", "has no rows"),
    ],
)
def test_a_table_that_does_not_fit_is_told(tmp_path, text, words):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_features(tmp_path / "f.csv", NAMES)


def test_arrays_that_would_have_to_be_unpickled_are_refused(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, names=np.array(["a.png", "b.png"], object), features=np.eye(2))
    with pytest.raises(BadInput, match="cannot be read as features"):
        read_features(path, NAMES)
    np.savez(path, names=np.array(["a.png", "b.png"]), features=np.eye(3))
    with pytest.raises(BadInput, match="not one row of features for each name"):
        read_features(path, NAMES)
    np.savez(path, names=np.array([1, 2]), features=np.eye(2))
    with pytest.raises(BadInput, match="no texts"):
        read_features(path, NAMES)
    path.write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(BadInput, match="cannot be read as features"):
        read_features(path, NAMES)
