import pytest
import torch

from intaglio.errors import BadInput
from intaglio.images.crop_boxes import read_boxes
from intaglio.images.image_set import ImageSet, save_png

HEAD = "name,left,top,right,bottom\n"


def test_boxes_are_read_by_name_whatever_the_order_of_columns(tmp_path):
    (tmp_path / "boxes.csv").write_text("left,name,right,bottom,top,why\n1,a.png,9,8,2,face\n")
    assert read_boxes(tmp_path / "boxes.csv") == {"a.png": (1, 2, 9, 8)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,left\n", "has no column top"),
        (HEAD + "a.png,1,2,3\n", "line 2 of .* has no four whole numbers"),
        (HEAD + "a.png,1,2,3,x\n", "line 2 of .* has no four whole numbers"),
        (HEAD + "a.png,0,0,8,8\na.png,1,1,9,9\n", "line 3 of .* names a.png a second time"),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path, text, says):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(BadInput, match=says):
        read_boxes(tmp_path / "boxes.csv")


def test_a_missing_table_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="cannot be read as a table of boxes"):
        read_boxes(tmp_path / "none.csv")


def test_only_the_box_is_used(tmp_path):
    picture = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    save_png(picture, tmp_path / "a.png")
    loaded = ImageSet.load(tmp_path, 16, boxes={"a.png": (10, 5, 26, 21)})
    torch.testing.assert_close(loaded.pixels[0], picture[:, 5:21, 10:26])


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((0, 0, 61, 40), "its box 0,0,61,40 does not lie in its 60x40 pixels"),
        ((5, 5, 5, 9), "does not lie in"),
        ((0, 0, 1, 40), "its box is 1x40 pixels, too small for 16"),
    ],
)
def test_a_box_that_does_not_fit_is_refused(tmp_path, box, says):
    save_png(torch.rand(3, 40, 60), tmp_path / "a.png")
    with pytest.raises(BadInput, match=says):
        ImageSet.load(tmp_path, 16, boxes={"a.png": box})


def test_a_box_for_no_picture_is_refused(tmp_path):
    save_png(torch.rand(3, 16, 16), tmp_path / "a.png")
    with pytest.raises(BadInput, match=r"there is a box for b\.png, but no such picture"):
        ImageSet.load(tmp_path, 16, boxes={"b.png": (0, 0, 8, 8)})
