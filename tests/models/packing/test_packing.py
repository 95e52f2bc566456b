import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.bit_planes import from_planes, to_planes
from intaglio.models.packing.codebook_entries import CodebookEntries
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.kept_entries import KeptEntries
from intaglio.models.packing.normal_floats import NormalFloats, normal_levels
from intaglio.models.packing.packed_file import PackedFile, Packing, write_packed
from intaglio.models.packing.packed_weight import PackedWeight, bytes_of_all, shared_tensors
from intaglio.models.packing.signs import Signs

NF4 = [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0]
NF4 += [0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]
"""Levels as the authors' appendix lists them, to four digits."""


def integers(rows=3, columns=8, bits=3, groups=2, zeros=False, seed=0):
    source = torch.Generator().manual_seed(seed)
    codes = torch.randint(2**bits, (rows, columns), generator=source, dtype=torch.uint8)
    scales = torch.rand(rows, groups, generator=source).half() + 0.5
    return Integers(codes, scales, bits, torch.randint(2**bits, (rows, groups), dtype=torch.uint8) if zeros else None)


def kept(pattern=(2, 4), rows=3, columns=8):
    source = torch.Generator().manual_seed(1)
    n, m = pattern or (3, columns)
    order = torch.rand(rows, columns // m, m, generator=source).argsort(2)
    mask = (order < n).view(rows, columns)
    return KeptEntries(mask, integers(rows, columns // m * n, 4, 1), pattern)


def signs(rows=3, columns=8, seed=2):
    source = torch.Generator().manual_seed(seed)
    return Signs(torch.rand(rows, columns, generator=source) < 0.5, torch.rand(rows, generator=source).half())


def entries(rows=3, columns=8, group=2, count=2, size=8, seed=4, books_seed=5):
    source = torch.Generator().manual_seed(seed)
    codes = torch.randint(size, (count, rows, columns // group), generator=source, dtype=torch.uint8)
    books = torch.randn(count, size, group, generator=torch.Generator().manual_seed(books_seed)).half()
    return CodebookEntries(codes, books, f"3x{group}", torch.rand(rows, generator=source).half())


TERMS = {
    "integers": integers(),
    "integers with zeros": integers(zeros=True),
    "eight bits": integers(bits=8, groups=1),
    "odd length": integers(5, 3, 7, 3),
    "normal floats": NormalFloats(integers(bits=4).codes, integers().scales),
    "two of four": kept(),
    "one of eight": kept((1, 8)),
    "a mask": kept(None),
    "signs": signs(),
    "signs of odd length": signs(5, 3),
    "entries of two books": entries(),
    "entries of one book": entries(5, 9, 3, 1, 2),
    "entries of a byte": entries(4, 8, 4, 3, 256),
}


def reread(term):
    facts = json.loads(json.dumps({"kind": term.kind, **term.facts()}))
    shared = {f"shared/{name}": tensor for name, tensor in term.shared().items()}
    return type(term).read(Fields.of(facts, "a file"), tuple(term.unpack().shape), {**shared, **term.tensors()})


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 7, 8, 9, 65])
def test_planes_hold_every_code_in_as_many_bits_as_they_say(bits, count):
    codes = torch.randint(2**bits, (count,), generator=torch.Generator().manual_seed(bits), dtype=torch.uint8)
    planes = to_planes(codes, bits)
    assert planes.shape == (bits, math.ceil(count / 8))
    assert from_planes(planes, count).tolist() == codes.tolist()
    by_hand = [sum((int(c) >> bits - 1 & 1) << k for k, c in enumerate(codes[b : b + 8])) for b in range(0, count, 8)]
    assert planes[-1].tolist() == by_hand


def test_integers_are_a_scale_times_the_distance_from_the_zero():
    term = integers(zeros=True)
    for row in range(3):
        for column in range(8):
            group = column // 4
            wanted = float(term.scales[row, group]) * (int(term.codes[row, column]) - int(term.zeros[row, group]))
            assert float(term.unpack()[row, column]) == pytest.approx(wanted)
    wanted = (integers().codes.float() - 4) * integers().scales.float().repeat_interleave(4, 1)
    assert torch.equal(integers(bits=3).unpack(), wanted)


def test_levels_are_those_of_the_paper():
    assert normal_levels().tolist() == pytest.approx(NF4, abs=6e-5)


def test_kept_entries_stand_where_the_mask_is_and_nothing_else_is_there():
    term = kept()
    found, values = term.unpack(), term.values.unpack()
    assert (found[~term.mask] == 0).all()
    for row in range(3):
        assert found[row][term.mask[row]].tolist() == values[row].tolist()


def test_signs_are_plus_or_minus_the_scale_of_their_row():
    term = signs()
    for row in range(3):
        for column in range(8):
            sign = 1 if term.positive[row, column] else -1
            assert float(term.unpack()[row, column]) == sign * float(term.scales[row])


@pytest.mark.parametrize("name", ["entries of two books", "entries of one book", "entries of a byte"])
def test_groups_of_columns_are_sums_of_entries_times_the_scale_of_the_row(name):
    term = TERMS[name]
    count, rows, groups = term.codes.shape
    width = term.books.shape[2]
    for row in range(rows):
        for column in range(groups * width):
            place, within = divmod(column, width)
            entry = sum(float(term.books[m, int(term.codes[m, row, place]), within]) for m in range(count))
            assert float(term.unpack()[row, column]) == pytest.approx(entry * float(term.scales[row]), rel=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_a_term_read_again_is_the_same_bits(name):
    again = reread(TERMS[name])
    assert torch.equal(again.unpack(), TERMS[name].unpack())
    assert again.facts() == TERMS[name].facts()


@pytest.mark.parametrize(
    ("term", "bits"),
    [
        (integers(16, 64, 4, 1), 4 + 16 / 64),
        (integers(16, 64, 3, 4, zeros=True), 3 + 24 / 16),
        (NormalFloats(integers(16, 64, 4, 1).codes, integers(16, 64, 4, 1).scales), 4 + 16 / 64),
        (kept((2, 4), 16, 64), 1 + 4 / 2 + 16 / 64),
        (kept((1, 8), 16, 64), 3 / 8 + 4 / 8 + 16 / 64),
        (signs(16, 64), 1 + 16 / 64),
        (entries(16, 64, 8, 2, 256), 2 * 8 / 8 + 16 / 64),
        (entries(16, 64, 8, 1, 16), 4 / 8 + 16 / 64),
    ],
)
def test_bits_a_weight_are_those_that_can_be_counted(term, bits):
    assert PackedWeight((16, 64), (term,)).bits == pytest.approx(bits)


def test_a_weight_is_the_sum_of_its_terms_in_its_own_shape():
    one = PackedWeight((3, 2, 2, 2), (TERMS["integers"], TERMS["two of four"]))
    assert torch.equal(one.unpack().flatten(1), TERMS["integers"].unpack() + TERMS["two of four"].unpack())


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "intaglio_packed.safetensors"
    weights = {
        "a.weight": PackedWeight((3, 8), (integers(),)),
        "b.weight": PackedWeight((3, 2, 2, 2), (kept(),)),
        "c.weight": PackedWeight((3, 8), (signs(), signs(seed=3))),
        "d.weight": PackedWeight((3, 8), (entries(),)),
        "e.weight": PackedWeight((3, 2, 2, 2), (entries(seed=6),)),
    }
    write_packed(path, weights, {"a.bias": torch.ones(3).half()}, Packing("rtn", "0" * 64, {"bits": 3}))
    return path, weights


def test_a_file_gives_back_every_weight_and_how_it_was_packed(stored):
    path, weights = stored
    file = PackedFile.read(path)
    assert file.shapes == {**{name: one.shape for name, one in weights.items()}, "a.bias": (3,)}
    with file.reading() as file_of:
        for name, one in weights.items():
            assert torch.equal(file_of(name).get_tensor(name), one.unpack())
        assert file_of("a.bias").get_tensor("a.bias").tolist() == [1, 1, 1]
    packing = file.packing
    assert (packing.method, packing.base, packing.settings) == ("rtn", "0" * 64, {"bits": 3})
    books = 2 * 8 * 2 * 2  # of two weights, stored once: two of eight pairs of two bytes each
    assert packing.bits == pytest.approx(8 * (books + sum(one.bytes for one in weights.values())) / 120)
    assert bytes_of_all(weights) == books + sum(one.bytes for one in weights.values())
    assert [key for key in load_file(path) if "shared" in key] == ["shared/3x2"]


def test_two_tensors_of_one_name_are_refused():
    weights = {"a": PackedWeight((3, 8), (entries(),)), "b": PackedWeight((3, 8), (entries(books_seed=8),))}
    with pytest.raises(ValueError, match="b and a weight before it"):
        shared_tensors(weights)


def unpack_all(path):
    with PackedFile.read(path).reading() as file_of:
        return [file_of(name).get_tensor(name) for name in ("a.weight", "b.weight", "c.weight", "d.weight")]


def rewritten(path, change):
    with safe_open(path, "pt") as file:
        note = json.loads(file.metadata()["intaglio"])
    tensors = load_file(path)
    change(note, tensors)
    save_file(tensors, path, metadata={"intaglio": json.dumps(note)})


DAMAGE = {
    "a codes' plane is gone": (lambda note, t: t.pop("a.weight/0/codes"), "lacks its codes"),
    "other planes": (lambda note, t: t.update({"a.weight/0/codes": t["a.weight/0/codes"][:2]}), "has codes"),
    "scales of another type": (
        lambda note, t: t.update({"a.weight/0/scales": t["a.weight/0/scales"].float()}),
        "scales .* float32",
    ),
    "scales that are not finite": (lambda note, t: t["a.weight/0/scales"].fill_(math.nan), "NaN"),
    "a group that divides nothing": (lambda note, t: note["weights"]["a.weight"]["terms"][0].update(group=3), "groups"),
    "too many bits": (lambda note, t: note["weights"]["a.weight"]["terms"][0].update(bits=9), "bits 9"),
    "no such term": (lambda note, t: note["weights"]["a.weight"]["terms"][0].update(kind="x"), "kind 'x'"),
    "no terms": (lambda note, t: note["weights"]["a.weight"].update(terms=[]), "terms"),
    "a shape of one side": (lambda note, t: note["weights"]["a.weight"].update(shape=[24]), "shape"),
    "a place kept twice": (lambda note, t: t["b.weight/0/places"].fill_(0), "twice"),
    "a plane of signs is gone": (lambda note, t: t.pop("c.weight/1/signs"), "term 1 lacks its signs"),
    "more planes of signs": (lambda note, t: t.update({"c.weight/0/signs": torch.zeros(2, 3).byte()}), "has signs"),
    "scales of signs that are infinite": (lambda note, t: t["c.weight/0/scales"].fill_(math.inf), "infinity"),
    "books are gone": (lambda note, t: t.pop("shared/3x2"), "d.weight, term 0 lacks its shared/3x2"),
    "books of another size": (lambda note, t: t.update({"shared/3x2": torch.ones(2, 4, 2).half()}), "has shared/3x2"),
    "books that are not finite": (lambda note, t: t["shared/3x2"].fill_(math.nan), "NaN"),
    "other books": (lambda note, t: note["weights"]["d.weight"]["terms"][0].update(name="x"), "lacks its shared/x"),
    "seven entries": (lambda note, t: note["weights"]["d.weight"]["terms"][0].update(entries=7), "power of two"),
    "entries that divide nothing": (lambda note, t: note["weights"]["d.weight"]["terms"][0].update(group=3), "groups"),
    "a plane of entries is gone": (lambda note, t: t.update({"d.weight/0/codes": t["d.weight/0/codes"][:2]}), "codes"),
    "a pattern of three": (lambda note, t: note["weights"]["b.weight"]["terms"][0].update(pattern=[2, 3]), "pattern"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_in_words(stored, damage):
    path, _ = stored
    change, told = DAMAGE[damage]
    rewritten(path, change)
    with pytest.raises(BadInput, match=told):
        unpack_all(path)


def test_a_file_of_a_later_version_and_one_without_a_note_are_refused(stored):
    path, _ = stored
    rewritten(path, lambda note, t: note.update(format=2))
    with pytest.raises(BadInput, match="later intaglio"):
        PackedFile.read(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(BadInput, match="does not say"):
        PackedFile.read(path)


def test_a_weight_that_is_packed_and_plain_is_refused(stored):
    path, _ = stored
    rewritten(path, lambda note, t: t.update({"a.weight": torch.zeros(3, 8)}))
    with pytest.raises(BadInput, match="packed and plain"):
        PackedFile.read(path)
