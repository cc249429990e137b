from __future__ import annotations

import threading

import pytest

from imagebuilder.steady import once, seen, steady


def test_a_look_is_one_of_the_block() -> None:
    looks = iter(range(100))
    assert [once("key", lambda: next(looks)) for _ in range(2)] == [0, 1]
    with steady():
        assert [once("key", lambda: next(looks)) for _ in range(2)] == [2, 2]
        assert once("other", lambda: next(looks)) == 3
        with steady():
            assert once("key", lambda: next(looks)) == 2
        assert once("key", lambda: next(looks)) == 2
    assert seen() is None
    assert once("key", lambda: next(looks)) == 4


def test_what_is_raised_is_not_kept() -> None:
    def fails() -> int:
        raise OSError("gone")

    with steady():
        with pytest.raises(OSError, match="gone"):
            once("key", fails)
        assert once("key", lambda: 1) == 1


def test_other_threads_look_for_themselves() -> None:
    found: list[object] = []
    with steady():
        thread = threading.Thread(target=lambda: found.append(seen()))
        thread.start()
        thread.join()
    assert found == [None]
