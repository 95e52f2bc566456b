"""Pictures and results as HTML for notebooks, and progress there, without any notebook."""

import base64
import io
import re
import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace

import pytest
import torch
from PIL import Image

import intaglio
import tiny
from intaglio.adapt.tuned import FineTuned
from intaglio.audit.membership.result import AuditResult
from intaglio.distill.distilled import Distilled
from intaglio.errors import BadInput
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.flow.sampling import sample_flow
from intaglio.images.image_set import ImageSet, save_png
from intaglio.images.notebook import result_html
from intaglio.models.diffusion import loading
from intaglio.protect.result import ProtectedPicture, ProtectionResult
from intaglio.runs import progress
from intaglio.runs.progress import showing
from intaglio.shrink.merging.merged import Merged
from intaglio.shrink.shrunk import Shrunk
from run_folders import audit_run


def closed(text: str) -> list[str]:
    """The tags of a piece of HTML that opens none without closing it."""
    tags, still_open = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            if tag != "img":
                still_open.append(tag)

        def handle_endtag(self, tag):
            assert still_open.pop() == tag

    Reader().feed(text)
    assert still_open == []
    return tags


def test_a_set_shows_at_most_24_thumbnails_with_escaped_names():
    pixels = torch.rand(27, 3, 8, 200, generator=torch.Generator().manual_seed(0))
    names = ["<script>\x1b", *(f"{k}.png" for k in range(26))]
    shown = ImageSet.from_pixels(pixels, names)._repr_html_()
    assert closed(shown).count("img") == 24
    assert "and 3 more" in shown
    assert "<script" not in shown
    assert "&lt;script&gt;\\x1b" in shown
    stored = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', shown).group(1))
    assert Image.open(io.BytesIO(stored)).size == (96, 4), "200 x 8, at most 96 a side"
    assert not re.search(r"https?:|src=\"(?!data:)", shown)


def test_tables_are_short_and_leave_empty_columns_out():
    rows = [{"name": f"<{k}>", "score": k / 3, "empty": None} for k in range(15)]
    shown = result_html("a < b", {"loss": 1 / 3, "none": None, "long": "x" * 1000}, rows)
    closed(shown)
    assert "a &lt; b" in shown
    assert "0.3333" in shown
    assert "empty" not in shown
    assert "none" not in shown
    assert shown.count("&lt;") == 1 + 12
    assert "and 3 more" in shown
    assert len(shown) < 3000


def test_results_show_their_figures_and_pictures(tmp_path):
    noise = torch.randint(0, 255, (26, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    audit = AuditResult.load(audit_run(tmp_path / "audit", noise[:2], noise[2:4], noise[4:]))
    shown = audit._repr_html_()
    closed(shown)
    assert "Audit by cgi-dm" in shown
    assert "member-00" in shown
    save_png(torch.zeros(3, 8, 8), tmp_path / "a.png")
    there, gone = (ProtectedPicture(name, name, (), 3, 40.0, 0.9, 0.1, 0.2) for name in ("a.png", "b.png"))
    shown = ProtectionResult("mist", "o", 8.0, "base", tmp_path, (there, gone))._repr_html_()
    assert closed(shown).count("img") == 1
    assert "b.png" in shown


def test_results_in_memory_show_what_they_hold():
    flow = tiny.flow(double=False, noise_std=0.0)
    decoded = sample_flow(flow, range(2), SequentialDecoder())
    shown = decoded._repr_html_()
    assert closed(shown).count("img") == 2
    assert "decoded by sequential" in shown
    pair = SimpleNamespace(samples=decoded.pictures, before=decoded.pictures, reading="A <LoRA>", method="lora")
    pair.figures = lambda: {"steps": 7}
    shown = FineTuned._repr_html_(pair)
    assert closed(shown).count("img") == 4
    assert re.findall(r">(seed \d, \w+)<", shown) == ["seed 0, base", "seed 0, tuned", "seed 1, base", "seed 1, tuned"]
    assert "A &lt;LoRA&gt; (lora)" in shown
    merged = SimpleNamespace(method="soup", notes=("n",), rows=({"name": "<one>", "distance": 0.25},))
    assert "&lt;one&gt;" in Merged._repr_html_(merged)
    student = SimpleNamespace(method="f", teacher="big", data="prompts", facts={"calls": 4})
    assert "A student by f" in Distilled._repr_html_(student)
    shrunken = SimpleNamespace(base="big", layers=(SimpleNamespace(name="mid", error=0.5),), figures=lambda: {})
    assert "mid" in Shrunk._repr_html_(shrunken)


def test_without_a_path_the_embedded_base_is_opened(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "base_path", lambda: tmp_path / "embedded")
    with pytest.raises(BadInput, match="embedded"):
        intaglio.load_model()


@pytest.fixture
def in_kernel(monkeypatch):
    """A notebook's kernel, as IPython would tell of it."""
    fake = ModuleType("IPython")
    monkeypatch.setattr(fake, "get_ipython", lambda: SimpleNamespace(kernel=object()), raising=False)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    return fake


def test_a_notebook_without_widgets_has_a_bar_of_text(in_kernel, monkeypatch, capsys):
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with showing(4, "train", 1, "auto") as bar:
        bar.advance(3, loss=0.25)
    told = capsys.readouterr().err
    assert "4/4" in told
    assert "ipywidgets" not in sys.modules


def test_a_notebook_with_widgets_has_their_bar_and_a_terminal_of_ipython_has_not(in_kernel, monkeypatch):
    made = []

    class Widget(progress.tqdm):
        def __init__(self, **options):
            made.append(options["desc"])
            super().__init__(**options)

    automatic = ModuleType("tqdm.auto")
    monkeypatch.setattr(automatic, "tqdm", Widget, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm.auto", automatic)
    monkeypatch.setattr(progress, "find_spec", lambda name: object())
    with showing(1, "train", 0, "auto") as bar:
        bar.advance()
    monkeypatch.setattr(in_kernel, "get_ipython", lambda: SimpleNamespace())
    with showing(1, "again", 0, "auto") as bar:
        bar.advance()
    assert made == ["train"]
