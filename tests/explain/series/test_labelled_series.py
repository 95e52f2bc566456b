"""Series from files: both kinds agree, and what they refuse."""

import numpy as np
import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.series.labelled_series import LabelledSeries, read_series
from series_scenes import small


def csv_of(series: LabelledSeries) -> str:
    lines = ["series,time,label,x,y"]
    for name, label, values in zip(series.names, series.labels, series.values.tolist(), strict=True):
        lines += [f"{name},{t},{label},{x},{y}" for t, (x, y) in reversed(list(enumerate(values)))]
    return "\n".join(lines)


def test_a_table_and_arrays_give_the_same(tmp_path):
    series = small(6)
    (tmp_path / "s.csv").write_text(csv_of(series))
    np.savez(tmp_path / "s.npz", series=series.values, labels=np.array(series.labels), names=np.array(series.names))
    read, stored = read_series(tmp_path / "s.csv"), read_series(tmp_path / "s.npz")
    assert torch.equal(read.values, series.values)
    assert torch.equal(stored.values, series.values)
    assert (read.names, read.labels, read.channels) == (series.names, series.labels, ("x", "y"))
    assert read.codes.tolist() == [0, 1] * 3


def test_arrays_of_one_channel_may_lack_it(tmp_path):
    np.savez(tmp_path / "s.npz", series=np.zeros((3, 4)), labels=np.array([1, 2, 1]))
    found = read_series(tmp_path / "s.npz")
    assert (tuple(found.values.shape), found.labels, found.names[2]) == ((3, 4, 1), ("1", "2", "1"), "series 2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("series,time,x\na,0,1\n", "no column label; give columns series, time and label"),
        ("series,time,label\na,0,k\n", "no columns of numbers"),
        ("series,time,label,x\na,0,k,red\n", "line 2 .* no number"),
        ("series,time,label,x\na,0,k,1\na,1,k,1\nb,0,j,1\n", "series b .* not the 2 times of the first"),
        ("series,time,label,x\na,0,k,1\na,0,k,1\n", "series a .* not the 2 times of the first"),
        ("series,time,label,x\na,0,k,1\na,1,j,1\n", "series a .* not one label"),
        ("series,time,label,x\na,0,k,1\nb,0,k,1\n", "all series are of one class"),
        ("series,time,label,x\na,0,k,nan\nb,0,j,1\n", "not finite"),
    ],
)
def test_a_table_that_does_not_fit_is_told(tmp_path, text, words):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_series(tmp_path / "s.csv")


def test_arrays_that_would_have_to_be_unpickled_or_do_not_fit_are_refused(tmp_path):
    np.savez(tmp_path / "s.npz", series=np.zeros((2, 3, 1)), labels=np.array(["a", "b"], object))
    with pytest.raises(BadInput, match="cannot be read as series"):
        read_series(tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", series=np.zeros((2, 3, 1)), labels=np.array(["a"]))
    with pytest.raises(BadInput, match="series of shape"):
        read_series(tmp_path / "s.npz")
