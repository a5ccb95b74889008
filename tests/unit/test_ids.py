"""The table that tells duplicates apart without the text of the ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async.bulk import _ids
from spaces_async.bulk._ids import IdTable

MANY = [f"acme/s{number}" for number in range(20_000)]


@given(st.lists(st.one_of(st.sampled_from("abc"), st.text(st.characters()))))
def test_it_tells_what_a_set_tells(texts: list[str]) -> None:
    """Each text is new once, whatever it is, lone surrogates included."""
    table, seen = IdTable(), set[str]()
    for text in texts:
        assert table.add(text) is (text not in seen)
        seen.add(text)
    assert len(table) == len(seen)


def test_it_grows() -> None:
    """Nothing is lost when an array is replaced by a larger one."""
    table = IdTable()
    assert all(map(table.add, MANY))
    assert not any(map(table.add, MANY))
    assert len(table) == len(MANY)


def test_what_it_takes() -> None:
    """From some thousand ids on it takes at most 24 bytes an id, at any size."""
    table = IdTable()
    for number, text in enumerate(MANY, 1):
        table.add(text)
        if number >= 4000 and number % 1000 == 0:
            slots = sum(len(part) for part in table._parts if part is not None)
            assert 8 * slots <= 24 * number


def test_nobody_can_choose_ids_that_collide() -> None:
    """Where a hash lies depends on a key that is drawn anew for each table."""
    tables = [IdTable(), IdTable(), IdTable(b"k" * 16), IdTable(b"k" * 16)]
    for table in tables:
        table.add("acme/demo")
    first, second, third, fourth = (
        [None if part is None else list(part) for part in table._parts]
        for table in tables
    )
    assert first != second
    assert third == fourth


def test_a_collision(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id whose hash is that of another one counts as that one."""

    class Same:
        def __init__(self, **_: object) -> None: ...
        def copy(self) -> Same:
            return self

        def update(self, _: bytes) -> None: ...
        def digest(self) -> bytes:
            return bytes(8)

    monkeypatch.setattr(_ids, "blake2b", Same)
    table = IdTable()
    assert table.add("acme/a")
    assert not table.add("acme/b")
