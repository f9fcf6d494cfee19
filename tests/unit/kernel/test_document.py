"""Files: what is written is read, what is edited keeps all else, and what is bad is refused by name, never by a crash."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nnix.cli.files import admitted, read_folder
from nnix.cli.root import KINDS
from nnix.kernel.document import Read, Unreadable, read, scalar, write
from nnix.kernel.editing import NotFound, edited, without
from nnix.kernel.resource import BitRate, Duration, Resource
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot

from .generated import AWKWARD, TEXTS, any_resource, field_values, resources

quick = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=False)
REFUSED = Path(__file__).parent / "refused"


def reading(*documents: str) -> Read:
    return read({"x.yaml": "---\n".join(documents)}, KINDS)


# --- written and read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.slug())
def test_what_is_written_is_read_again_and_written_in_the_same_bytes(kind: type[Resource]) -> None:
    """write(read(x)) == x for any file that write made, of every kind and with every field."""
    seen: set[str] = set()

    @settings(quick, max_examples=150)
    @given(st.lists(resources(kind), min_size=1, max_size=3, unique_by=lambda each: each.name))
    def claim(given_: list[Resource]) -> None:
        text = write(given_)
        found = reading(text)
        assert found.refusals == ()
        assert list(found.resources) == given_
        assert write(found.resources) == text
        seen.update(name for each in given_ for name in each.model_fields_set)

    claim()
    assert seen == set(kind.model_fields) - {"owner"}, "every field has been tried"


@settings(quick, max_examples=300)
@given(st.one_of(TEXTS, st.lists(TEXTS, max_size=4)))
def test_a_value_means_itself_behind_a_field_and_in_a_list(value: str | list[str]) -> None:
    """Quoted or not, text is read as the text that it was, by us and by other readers of YAML."""
    text = f"a: {scalar(value)}\n"
    assert yaml.load(text, Loader=yaml.BaseLoader) == {"a": value}  # noqa: S506 - BaseLoader makes nothing but text


@pytest.mark.parametrize("text", AWKWARD)
def test_no_text_is_lost_in_the_city(text: str) -> None:
    """Each awkward text on its own, as a field's value."""
    site = reading("kind: Site\nname: a\ntitle: {en: A}\nrole: hub\nlevel: city\ncity: x\ncountry: CN\n").resources[0].changed(city=text)
    assert reading(write([site])).resources == (site,)


@settings(quick, max_examples=300)
@given(st.sampled_from([BitRate, Duration]), st.integers(0, 10**18))
def test_quantities_mean_the_same_after_they_were_written(kind: type[BitRate | Duration], amount: int) -> None:
    """Every amount of the smallest unit has a spelling that is read as that very amount."""
    assert kind.parse(str(kind(amount))) == amount


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [("10000M", "10G"), ("1.5G", "1.5G"), ("0bit/s", "0bit/s"), ("999999.999999999G", "999999999999.999k"), ("1000T", "1000T")],
)
def test_quantities_are_written_in_the_largest_unit_that_fits(written: str, rewritten: str) -> None:
    """10000M and 10G are one value with one spelling."""
    assert str(BitRate.parse(written)) == rewritten


@pytest.mark.parametrize("text", ["", "10", "-1G", "1e3G", "1,5G", "10 g", "0.5bit/s", "9" * 19 + "G", "9" * 18 + "T", "1.1.1G", "٣G", "G"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    """The refusal says what would be accepted."""
    with pytest.raises(ValueError, match=r"like 100G|at most"):
        BitRate.parse(text)


# --- edited in place --------------------------------------------------------------------------------------------------

LAYOUTS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: "# a header, with: colons and [brackets\n\n# about the first\n" + text,
    lambda text: text.replace("\n", "   # said behind it\n", 2),
    lambda text: text.replace("---\n", "---   # next\n# about it\n\n"),
    lambda text: "---\n" + text,
    lambda text: text.replace("\n", "\r\n"),
    lambda text: "\ufeff" + text,
    lambda text: text.removesuffix("\n"),
    lambda text: text + "\n\n# the end\n",
)


@settings(quick, max_examples=600)
@given(st.data())
def test_an_edit_changes_one_field_and_no_other_byte(data: st.DataObject) -> None:
    """Set or taken out, in any layout: the line of the field differs, every other line and all comments are as they were."""
    given_ = data.draw(st.lists(any_resource(), min_size=1, max_size=3, unique_by=lambda each: each.id))
    target = data.draw(st.sampled_from(given_))
    kind = type(target)
    own = {field.alias or name: field for name, field in kind.model_fields.items() if name not in ("name", "owner")}
    field = data.draw(st.sampled_from([name for name, each in own.items() if not each.is_required()] or list(own)))
    value = data.draw(field_values(kind, field))
    text = data.draw(st.sampled_from(LAYOUTS))(write(given_))
    assume(not reading(text).refusals)

    fresh = edited(text, kind.kind(), target.name, field, value)

    written = {**target.written(), field: value}
    meant = kind.model_validate({key: each for key, each in written.items() if key != "kind" and each is not None})
    found = reading(fresh)
    assert found.refusals == ()
    assert found.resources == tuple(meant if each is target else each for each in given_)
    old, new = text.splitlines(keepends=True), fresh.splitlines(keepends=True)
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    behind = 0
    while behind < min(len(old), len(new)) - same and old[-1 - behind] == new[-1 - behind]:
        behind += 1
    lines = write([target]).splitlines()
    block = next((n for n, line in enumerate(lines) if line.startswith(f"{field}:")), None)
    height = (
        0
        if block is None
        else next((n for n, line in enumerate(lines[block + 1 :]) if not line.startswith(" ")), len(lines) - block - 1) + 1
    )
    assert len(old) - same - behind <= max(height, 1)
    assert len(new) - same - behind <= 2


@settings(quick, max_examples=300)
@given(st.data())
def test_a_document_taken_out_leaves_the_others_byte_by_byte(data: st.DataObject) -> None:
    """What is left is a subsequence of the lines, and means the other resources."""
    given_ = data.draw(st.lists(any_resource(), min_size=1, max_size=4, unique_by=lambda each: each.id))
    target = data.draw(st.sampled_from(given_))
    text = data.draw(st.sampled_from(LAYOUTS))(write(given_))
    assume(not reading(text).refusals)

    rest = without(text, type(target).kind(), target.name)

    assert reading(rest).resources == tuple(each for each in given_ if each is not target)
    old, new = text.splitlines(keepends=True), rest.splitlines(keepends=True)
    assert (
        not new
        or any(old[:n] + old[n + len(old) - len(new) :] == new for n in range(len(new) + 1))
        or "\ufeff" in text
        or text.startswith("---")
    )


SITE = "kind: Site\nname: a\n"


@pytest.mark.parametrize(
    ("before", "field", "value", "after"),
    [
        (SITE + "city:\nlevel: x\n", "city", "Hz", SITE + "city: Hz\nlevel: x\n"),
        (SITE + "city: # where\n", "city", "Hz", SITE + "city: Hz # where\n"),
        (SITE + "city: |\n  a\n  b\n\nlevel: x\n", "city", "Hz", SITE + "city: Hz\n\nlevel: x\n"),
        (SITE + 'city: "a\n  b"\nlevel: x\n', "city", None, SITE + "level: x\n"),
        (SITE + "title: {en: x, zh: y}\n", "title.zh", None, SITE + "title: {en: x}\n"),
        (SITE + "title: {en: x, zh: y}\n", "title.en", None, SITE + "title: {zh: y}\n"),
        (SITE + "title: {en: x}\ncity: y\n", "title.en", None, SITE + "city: y\n"),
        (SITE + "title:\n  en: x # said\n\n# next\ncity: y\n", "title.zh", "杭州", SITE + "title:\n  en: x # said\n  zh: 杭州\n\n# next\ncity: y\n"),
        (SITE + "carriers:\n- a\n- b # last\ncity: y\n", "carriers", ["c"], SITE + "carriers: [c] # last\ncity: y\n"),
        (SITE + "carriers: [a, b]\n", "carriers.1", "c", SITE + "carriers: [a, c]\n"),
        (SITE + "carriers:\n- a # one\n- b # two\n", "carriers.0", None, SITE + "carriers:\n- b # two\n"),
        (SITE + "x:\n  - p: 1\n    q: 2\n  - p: 3\n", "x.0.p", None, SITE + "x:\n  - q: 2\n  - p: 3\n"),
        (SITE + "x:\n  - p: 1\n", "x.0.q.r", "2", SITE + "x:\n  - p: 1\n    q: {r: 2}\n"),
        ("{kind: Site, name: a, city: x,\n}\n", "level", "city", "{kind: Site, name: a, city: x, level: city,\n}\n"),
        (SITE.replace("\n", "\r\n"), "city", "x", SITE.replace("\n", "\r\n") + "city: x\r\n"),
        ("\ufeff" + SITE + "city: x # here\n", "city", "y", "\ufeff" + SITE + "city: y # here\n"),
        (SITE + "city: x", "level", "city", SITE + "city: x\nlevel: city\n"),
        (SITE, "city", None, SITE),
    ],
)  # fmt: skip
def test_the_operators_layout_stays(before: str, field: str, value: Any, after: str) -> None:
    """The layouts that people write, each with the exact outcome."""
    assert edited(before, "Site", "a", field, value) == after


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (SITE + "city: |+\n  a\n\n\n# end\n", "level"),  # a line put behind it would cut the blank lines off its text
        (SITE + "title: &t {en: x}\n", "city"),
        (SITE + "title: {en, zh}\n", "title.en"),
        (SITE, "city: x #"),
        (SITE + "- broken", "city"),
    ],
)
def test_a_place_that_cannot_be_edited_is_left_alone(text: str, field: str) -> None:
    """Exotic YAML is refused with its line, not guessed at."""
    with pytest.raises(Unreadable):
        edited(text, "Site", "a", field, "new")


def test_what_is_not_there_cannot_be_edited() -> None:
    """Neither edited nor taken out."""
    for nothing in ("", SITE.replace("a", "b"), SITE.replace("Site", "Port"), "# nothing\n"):
        with pytest.raises(NotFound, match="Site named a"):
            edited(nothing, "Site", "a", "city", "x")
        with pytest.raises(NotFound, match="Site named a"):
            without(nothing, "Site", "a")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# file\n\n# about a\n" + SITE + "---\n# about b\nkind: Site\nname: b\n", "# file\n\n# about b\nkind: Site\nname: b\n"),
        ("kind: Site\nname: b\n---\n# about a\n" + SITE, "kind: Site\nname: b\n"),
        ("---\n" + SITE + "--- # b\nkind: Site\nname: b\n", "--- # b\nkind: Site\nname: b\n"),
        (SITE + "...\n---\nkind: Site\nname: b\n", "kind: Site\nname: b\n"),
        (SITE, ""),
    ],
)
def test_a_document_goes_with_its_own_comments(before: str, after: str) -> None:
    """The comment that opens a file stays, what stands in the document goes."""
    assert without(before, "Site", "a") == after


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", sorted(REFUSED.iterdir()), ids=lambda path: path.name)
def test_the_refusal_says_what_to_mend(case: Path) -> None:
    """Each folder is one mistake, or several at once, beside the very words that an operator reads."""
    with pytest.raises(Refused) as refused:
        admitted(case, Snapshot())
    said = "\n\n".join(str(each).replace(f"{case}/", "") for each in refused.value.refusals)
    expected = case / "expected.txt"
    assert said + "\n" == expected.read_text()


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a: [1, 2\nb: 3\n", 2, "not YAML"),
        ("kind: Site\nname: a\nname: b\n", 3, "the field name stands twice"),
        ("kind: Site\nname: &n a\n", 2, "the anchor &n"),
        ("kind: Site\nname: a\ncity: !!str x\n", 3, "the tag !!str"),
        ("kind: Site\n? [a]\n: b\n", 2, "a key that is a list"),
        ("- a\n", 1, "not a mapping"),
        ("kind: Site\nname: a\ncity: \x07\n", 1, "not YAML"),
        ("kind: Site\nname: a\n\tcity: x\n", 3, "not YAML"),
        ("a: " + "[" * 100 + "]" * 100 + "\n", 1, "levels of nesting"),
        ("- " * 100_000 + "\n", 1, "nesting depth"),
        ("[" * 1_000_000, 1, "nesting depth"),
    ],
)
def test_what_is_not_our_yaml_is_refused_with_its_line(text: str, line: int, found: str) -> None:
    """Outside the subset: the line, what stands there, what would be accepted."""
    (why,) = reading(text).refusals
    assert found in why.found
    assert (why.place and why.place.line, bool(why.accept)) == (line, True)


def test_a_bad_document_takes_no_other_with_it() -> None:
    """A document that cannot be understood is refused, those around it are read; only after broken YAML nothing is known."""
    good = "kind: Carrier\nname: {}\ntitle: {{en: x}}\n"
    found = reading(good.format("a"), "kind: Carrier\nname: b\n", "- x\n", "kind: Q\n", good.format("c"), "a: [\n", good.format("d"))
    assert [each.name for each in found.resources] == ["a", "c"]
    assert [each.rule for each in found.refusals] == ["kernel.field-required", "kernel.document", "kernel.kind", "kernel.yaml"]


def test_the_second_of_a_name_is_refused_and_points_to_the_first() -> None:
    """In whichever file it stands."""
    carrier = "kind: Carrier\nname: a\ntitle: {en: x}\n"
    found = read({"1.yaml": carrier, "2.yaml": "# more\n" + carrier}, KINDS)
    (why,) = found.refusals
    assert (str(why.place), why.rule, why.found) == ("2.yaml:2", "kernel.name-unique", "is already taken at 1.yaml:1")


def test_a_file_gives_no_resource_an_owner() -> None:
    """Only what planes derive has one."""
    (why,) = reading("kind: Carrier\nname: a\ntitle: {en: x}\nowner: site/x\n").refusals
    assert (why.rule, why.field, why.mend) == ("kernel.owner", "owner", "delete the line")


def test_files_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    """A folder without files, a file that is not UTF-8, one that cannot be read; hidden files are nobody's business."""
    assert [each.rule for each in read_folder(tmp_path).refusals] == ["kernel.folder"]
    (tmp_path / "a.yaml").write_bytes(b"kind: \xff")
    (tmp_path / "b.yml").mkdir()
    (tmp_path / ".c.yaml").write_text("nonsense")
    found = read_folder(tmp_path).refusals
    assert [(Path(each.resource).name, each.rule) for each in found] == [("a.yaml", "kernel.file"), ("b.yml", "kernel.file")]


def test_numbers_that_no_json_holds_are_refused() -> None:
    """The ledger's JSON knows integers below 2^53 (RFC 8785)."""
    text = "kind: Exchange\nname: a\ntitle: {en: x}\nasn: 1\ncountry: CN\npeeringdb_ix: 9007199254740993\n"
    (why,) = reading(text).refusals
    assert (why.field, why.place and why.place.line) == ("peeringdb_ix", 6)
    assert not reading(text.replace("0993", "0991")).refusals


def test_many_faults_in_one_large_file_are_placed_in_time() -> None:
    """Places are found for a thousand faults without reading the file a thousand times."""
    found = reading(*(f"kind: Carrier\nname: c{n}\ntitle: {{en: x}}\nasns: [1]\n" for n in range(2000)))
    places = [found.place(f"carrier/c{n}", "asns.0") for n in range(2000)]
    assert [each and each.line for each in places[:3]] == [4, 9, 14]


# --- anything at all ----------------------------------------------------------------------------------------------------

VALID = [
    path.read_text() for path in sorted((Path(__file__).parents[3] / "examples/zhejiang").rglob("*.yaml")) if path.stat().st_size < 20_000
]
SNIPPETS = (
    "\t", "\x00", "\x1b", "\ud800", "\ufeff", "\u2028", "\r", ": ", "- ", "? ", "---\n", "...\n", "&a ", "*a", "!!python/object:os.system ", "!x ", "<<: ",
    "|\n", ">+\n", "{", "}", "[", "]", '"', "'", "#", "%", "@", "`", "null", "~", "kind: Nope\n", "kind: [x]\n", "kind:\n", "name: {}\n", "owner: x\n",
    "9" * 5000, "-1", "1e999", "nan", "x" * 10_000, "[" * 300, "{a: " * 300, "- " * 300, "\n" + " " * 300, "title: 3\n", "title: [1]\n", "asn: x\n", "v4: ::1\n",
)  # fmt: skip


def sound_refusals(text: str) -> None:
    """Reading never raises, and whatever it refuses it refuses completely."""
    found = read({"x.yaml": text}, KINDS)
    for each in found.refusals:
        assert each.rule.startswith("kernel.")
        assert each.accept
        assert each.place is not None
        assert 1 <= each.place.line <= len(text) + 1
        assert len(each.found) < 400
        assert str(each).isprintable() or all(line.isprintable() for line in str(each).split("\n"))
    for resource in found.resources:
        assert found.place(resource.id, "title.en.x.0") is not None


@settings(quick, max_examples=2500)
@given(
    st.text(max_size=80) | st.text(alphabet=string.printable, max_size=120) | st.lists(st.sampled_from(SNIPPETS), max_size=8).map("".join)
)
def test_random_text_never_crashes_the_reader(text: str) -> None:
    """Any characters in any order."""
    sound_refusals(text)


@settings(quick, max_examples=4500)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 30), st.sampled_from(SNIPPETS)), min_size=1, max_size=4),
)
def test_a_mutilated_exchange_never_crashes_the_reader(text: str, cuts: list[tuple[int, int, str]]) -> None:
    """Real files with pieces cut out and others put in."""
    for at, length, piece in cuts:
        middle = at % len(text)
        text = text[max(middle - 600, 0) : middle] + piece + text[middle + length : middle + 600]
    sound_refusals(text)


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(AWKWARD) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "name", "title", "en", "asn", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(quick, max_examples=3000)
@given(st.sampled_from([*KINDS, "Nope", "member", ""]), st.data())
def test_any_structure_under_any_kind_never_crashes_the_reader(kind: str, data: st.DataObject) -> None:
    """Wrong types in known fields, unknown fields, structures where scalars belong."""
    fields = [field.alias or name for name, field in KINDS[kind].model_fields.items()] if kind in KINDS else ["x"]
    body = data.draw(st.dictionaries(st.sampled_from(fields), DATA, max_size=4))
    sound_refusals(yaml.safe_dump({"kind": kind, **body}, allow_unicode=True))
