"""TorchScript of strangers: programs that read, write, print, loop for ever, raise, or begin at loading."""

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from intaglio.errors import BadInput
from intaglio.metrics.similarity.local_networks import Preprocessing
from intaglio.metrics.similarity.measures import load_similarity

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::torch.jit.TracerWarning",
    "ignore:.*enable_nested_tensor:UserWarning",
)
AS_IT_IS = Preprocessing()
PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class ReadsFile(nn.Module):
    def forward(self, x):
        t = torch.from_file("written.txt", True, 64, dtype=torch.uint8)
        t.fill_(65)
        return x.flatten(1)[:, :8] + t[0].float() * 0


class Saves(nn.Module):
    def forward(self, x):
        torch.save(x, "written.txt")
        return x.flatten(1)


class Prints(nn.Module):
    def forward(self, x):
        print("hello")  # noqa: T201
        return x.flatten(1)


class NeverEnds(nn.Module):
    def forward(self, x):
        while bool(x.sum() < 1e9):
            x = x * 1
        return x.flatten(1)


class CountsFar(nn.Module):
    def forward(self, x):
        for _ in range(1_000_000_000_000):
            x = x * 1
        return x.flatten(1)


class CountsFarByParts(nn.Module):
    def forward(self, x):
        for _ in range(5000):
            for _ in range(5000):
                x = x * 1
        return x.flatten(1)


class CountsPixels(nn.Module):
    def forward(self, x):
        n = int(x.sum()) * 1_000_000_000
        for _ in range(n):
            x = x * 1
        return x.flatten(1)


class Forks(nn.Module):
    def forward(self, x):
        return torch.jit.wait(torch.jit.fork(torch.relu, x)).flatten(1)


class InBranch(nn.Module):
    def forward(self, x):
        if x.dim() == 4:
            return x.flatten(1)
        return torch.from_file("written.txt", True, 64)


class Deep(nn.Module):
    """Asks for a file through a method of a part of a part."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def quietly(x: torch.Tensor) -> torch.Tensor:
    return torch.from_file("written.txt", True, 64) + x.sum()


class InFunction(nn.Module):
    def forward(self, x):
        return quietly(x)[None].expand(2, 8)


class InOtherMethod(nn.Module):
    def forward(self, x):
        return x.flatten(1)

    @torch.jit.export
    def train_more(self, x):
        return torch.from_file("written.txt", True, 64)


class AtLoading(nn.Module):
    def forward(self, x):
        return x.flatten(1)

    @torch.jit.export
    def __getstate__(self):
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.from_file("written.txt", True, 64, dtype=torch.uint8).fill_(65)
        self.training = state[1]


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_forward_hook(self.hook)

    @staticmethod
    def hook(self, inputs: tuple[torch.Tensor], outputs: torch.Tensor) -> torch.Tensor:
        return torch.from_file("written.txt", True, 64, dtype=torch.uint8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (ReadsFile, "asks for the operation aten::from_file"),
        (Saves, "asks for the operation aten::save"),
        (Prints, "asks for the operation prim::Print"),
        (NeverEnds, "asks for a loop whose end is not fixed"),
        (CountsFar, "asks for a loop whose end is not fixed"),
        (CountsFarByParts, "asks for a loop whose end is not fixed"),
        (CountsPixels, "asks for a loop whose end is not fixed"),
        (Forks, "asks for the operation prim::fork"),
        (InBranch, "asks for the operation aten::from_file"),
        (lambda: Deep(Deep(ReadsFile())), "asks for the operation aten::from_file"),
        (InFunction, "asks for the operation aten::from_file"),
        (InOtherMethod, "asks for the operation aten::from_file"),
        (AtLoading, "has __.etstate__, a program that runs beside the network"),
        (Hooked, "a program that runs beside the network|asks for a hook"),
    ],
)
def test_a_program_that_does_more_than_compute_is_never_run(tmp_path, monkeypatch, build, words):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(build()).save("net.pt")
    with pytest.raises(BadInput, match=words) as caught:
        load_similarity("net.pt", preprocessing=AS_IT_IS)(PICTURES, PICTURES)
    assert "net.pt" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


class Raises(nn.Module):
    def forward(self, x):
        if x.dim() == 4:
            raise ValueError("not today")
        return x


def test_a_network_that_raises_is_bad_input(tmp_path):
    torch.jit.script(Raises()).save(tmp_path / "net.pt")
    with pytest.raises(BadInput, match=r"net.pt cannot take pictures of shape \(3, 32, 32\)"):
        load_similarity(tmp_path / "net.pt", preprocessing=AS_IT_IS)(PICTURES, PICTURES)


# Archives


def sound(path: Path) -> Path:
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(3072, 8))).save(path)
    return path


def rewritten(path: Path, *, drop: str = "", **more: bytes) -> Path:
    """The archive without members that end in `drop`, and with others."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist() if not (drop and name.endswith(drop))}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in {**members, **{f"{path.stem}/{key}": value for key, value in more.items()}}.items():
            new.writestr(name, content)
    return path


def test_a_sound_archive_is_read_whatever_wrote_it(tmp_path):
    path = sound(tmp_path / "net.pt")
    before = load_similarity(path, preprocessing=AS_IT_IS)(PICTURES, PICTURES.flip(0))
    rewritten(path, **{"extra/producer.txt": b"someone"})
    assert torch.equal(load_similarity(path, preprocessing=AS_IT_IS)(PICTURES, PICTURES.flip(0)), before)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model.json": b"{}"}, "'model.json', which is no part"),
        ({"program.so": b"\x7fELF"}, "'program.so', which is no part"),
        ({"code/../../x.py": b""}, "which is no part"),
        ({"data/../x": b""}, "which is no part"),
        ({"bytecode.pkl": b""}, "which is no part"),
        ({"data.pkl": b"c__torch__.torch.classes.quantized\nLinear\n."}, "torch.classes"),
        ({"data.pkl": b"\xff"}, "its values are damaged"),
        ({"code/__torch__/x.py": b"class A(Module):\n  def __setstate__(self, x): pass"}, "__setstate__"),
    ],
    ids=range(8),
)
def test_an_archive_with_anything_else_in_it_is_refused(tmp_path, more, words):
    path = sound(tmp_path / "net.pt")
    rewritten(path, **more)
    with pytest.raises(BadInput, match=words):
        load_similarity(path)


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path):
    """By its table of contents, before anything is unpacked."""
    path = sound(tmp_path / "net.pt")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("net/code/__torch__/x.py", b" " * 2**27)
    with pytest.raises(BadInput, match="unpacks to far more"):
        load_similarity(path)


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = sound(tmp_path / "net.pt")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/data.pkl", b"other")
    with pytest.raises(BadInput, match="holds 'data.pkl' twice"):
        load_similarity(path)


# What people have


class Residual(nn.Module):
    """A residual network's stem and block with generalised-mean pooling, as copy detectors have it."""

    def __init__(self):
        super().__init__()
        first = nn.Conv2d(3, 8, 7, 2, 3)
        self.stem = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.parts = nn.ModuleList([nn.Conv2d(8, 8, 1) for _ in range(2)])
        self.head = nn.Linear(8, 16)
        self.exponent = 3.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.interpolate(x, size=[48, 48], mode="bicubic", align_corners=False)
        x = self.stem(x)
        x = x + self.block(x)
        for part in self.parts:
            x = nn.functional.gelu(part(x))
        pooled = x.clamp(min=1e-6).pow(self.exponent).mean((-2, -1)).pow(1 / self.exponent)
        return nn.functional.normalize(self.head(nn.functional.dropout(pooled, 0.1, self.training)), p=2.0, dim=1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.blocks(torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1))[:, 0]


WIDE = {"intermediate_size": 32}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}


class Of(nn.Module):
    """One output of a network of transformers."""

    def __init__(self, network: nn.Module, part: str):
        super().__init__()
        self.network, self.part = network, part

    def forward(self, x):
        found = getattr(self.network(pixel_values=x), self.part)
        return found if found.dim() == 2 else found[:, 0]


@pytest.mark.parametrize("make", ["script", "trace", "frozen"])
@pytest.mark.parametrize("build", [Residual, Attention])
def test_networks_that_are_traced_scripted_or_frozen_are_taken(tmp_path, build, make):
    torch.manual_seed(0)
    network = build().eval()
    kept = torch.jit.trace(network, PICTURES, check_trace=False) if make == "trace" else torch.jit.script(network)
    (torch.jit.freeze(kept) if make == "frozen" else kept).save(tmp_path / "net.pt")
    found = load_similarity(tmp_path / "net.pt", preprocessing=AS_IT_IS)
    with torch.no_grad():
        torch.testing.assert_close(found.embed(PICTURES), nn.functional.normalize(network(PICTURES), dim=1))


@pytest.mark.parametrize(
    ("build", "part"),
    [
        (lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL, **WIDE, projection_dim=8)), "image_embeds"),
        (lambda: ViTModel(ViTConfig(**SMALL, **WIDE)), "last_hidden_state"),
        (lambda: Dinov2Model(Dinov2Config(**SMALL)), "last_hidden_state"),
    ],
    ids=["clip", "vit", "dinov2"],
)
def test_traced_networks_of_transformers_are_taken(tmp_path, build, part):
    network = Of(build().eval(), part)
    torch.jit.trace(network, PICTURES, check_trace=False).save(tmp_path / "net.pt")
    found = load_similarity(tmp_path / "net.pt", preprocessing=AS_IT_IS)
    with torch.no_grad():
        torch.testing.assert_close(found.embed(PICTURES), nn.functional.normalize(network(PICTURES), dim=1))
