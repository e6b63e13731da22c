"""Times and ids: UUIDv7 sorts by time, times are aware and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import clock

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def test_an_id_has_the_version_and_the_variant_of_uuid7() -> None:
    for _ in range(1000):
        made = clock.new_id()
        assert made.version == 7
        assert made.variant == RFC_4122


def test_an_id_begins_with_the_time_of_its_making() -> None:
    before = clock.now()
    milliseconds = clock.new_id().int >> 80
    after = clock.now()
    assert int(before.timestamp() * 1000) <= milliseconds <= int(after.timestamp() * 1000) + 1


def test_ids_of_later_milliseconds_sort_later() -> None:
    made = [clock.new_id() for _ in range(20_000)]
    stamps = [one.int >> 80 for one in made]
    assert stamps == sorted(stamps)
    assert stamps[0] < stamps[-1], "so many take more than a millisecond"
    assert str(made[0]) < str(made[-1])


def test_ids_sort_in_the_order_of_their_making_even_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [clock.new_id() for _ in range(5_000)]
    monkeypatch.setattr("time.time_ns", lambda: 0)
    made += [clock.new_id() for _ in range(5_000)]
    assert made == sorted(made)
    assert all((one.version, one.variant) == (7, RFC_4122) for one in made)


def test_no_id_is_made_twice() -> None:
    assert len({clock.new_id() for _ in range(20_000)}) == 20_000


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().utcoffset() == timedelta(0)


@given(MOMENTS)
def test_a_time_survives_the_wire(moment: datetime) -> None:
    assert clock.parse_rfc3339(clock.rfc3339(moment)) == moment


def test_a_time_elsewhere_is_written_in_utc() -> None:
    somewhere = datetime(2026, 11, 22, 12, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert clock.rfc3339(somewhere) == "2026-11-22T06:30:00.000000Z"
    assert clock.parse_rfc3339("2026-11-22T12:00:00+05:30") == somewhere


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-22T10:00:00", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
def test_what_names_no_moment_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the message
        clock.parse_rfc3339(text)


def test_tokens_are_long_url_safe_and_never_alike() -> None:
    tokens = {clock.random_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 43 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)


def test_jitter_lies_between_nought_and_one() -> None:
    assert all(0 <= clock.random_fraction() < 1 for _ in range(1000))
