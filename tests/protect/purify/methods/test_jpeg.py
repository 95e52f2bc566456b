"""jpeg: Pillow's own file, and more lost at lower qualities."""

import io

import numpy as np
import torch
from PIL import Image

from intaglio.protect.purify.methods.jpeg import JPEGCompression
from protect_scenes import levels

SMALL = {"quality": 60}
BAD = {"quality": 0}
PIECES = {}


def test_the_picture_is_that_of_pillow_s_file():
    given = levels(1)
    file = io.BytesIO()
    Image.fromarray((given[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=50)
    wanted = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
    torch.testing.assert_close(JPEGCompression(quality=50).clean(given, None, 0)[0], wanted)
    errors = [float((JPEGCompression(quality=q).clean(given, None, 0) - given).abs().mean()) for q in (95, 75, 30)]
    assert errors == sorted(errors)
    assert JPEGCompression(quality=30).label == "jpeg-30"
