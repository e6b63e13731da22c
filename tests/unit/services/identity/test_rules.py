"""The rules of people, teams, tokens and limits, as values."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import clock
from kernel.errors import Conflict, Forbidden, Invalid
from kernel.permissions import RESOURCES, SCOPE_ALLOWS, Action, Role, scope_covers
from services.identity.domain import people, teams, throttle, tokens
from services.identity.domain.people import Newcomer
from services.identity.domain.teams import InvitationState
from services.identity.domain.tokens import Opaque

SCOPES = st.sampled_from([*SCOPE_ALLOWS, *(f"{resource}:{name}" for resource in RESOURCES for name in SCOPE_ALLOWS)])


@pytest.mark.parametrize("text", ["ann@example.org", "a.b+c@x-y.example", "root@localhost", "a" * 64 + "@example.org"])
def test_an_email_address_is_one(text: str) -> None:
    assert people.is_email(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@x",
        "a@",
        "a@b@c",
        "a b@c.d",
        "a@b..c",
        ".a@b.c",
        "a@-b.c",
        "\u0430nn@example.org",
        "a@b.c\n",
        "a" * 65 + "@b.c",
        "a@" + "b." * 150 + "c",
    ],
)
def test_what_is_no_email_address_is_refused(text: str) -> None:
    assert not people.is_email(text)


@given(st.text(max_size=300))
def test_no_text_breaks_the_checks_of_what_people_type(text: str) -> None:
    people.is_email(text)
    people.is_name(text)
    people.password_fault(text, text)
    assert teams.SLUG.match(teams.slug_from(text))
    tokens.parse(text)
    throttle.place(text)


@pytest.mark.parametrize(
    ("password", "is_good"), [("short", False), ("x" * 12, True), ("x" * 257, False), ("ann@example.org", False), ("ten letters\0x", False)]
)
def test_a_password_is_long_and_typeable(password: str, is_good: bool) -> None:
    assert (people.password_fault(password, "ann@example.org") is None) == is_good


@pytest.mark.parametrize(
    ("mode", "newcomer", "code"),
    [
        ("open", Newcomer(is_first=False, has_invitation=False, setup_token_fits=False), None),
        ("invite", Newcomer(is_first=False, has_invitation=True, setup_token_fits=False), None),
        ("invite", Newcomer(is_first=False, has_invitation=False, setup_token_fits=True), "invitation-required"),
        ("closed", Newcomer(is_first=False, has_invitation=True, setup_token_fits=True), "registration-closed"),
        ("closed", Newcomer(is_first=True, has_invitation=False, setup_token_fits=True), None),
        ("open", Newcomer(is_first=True, has_invitation=False, setup_token_fits=False), "setup-token-wrong"),
    ],
)
def test_who_may_register(mode: str, newcomer: Newcomer, code: str | None) -> None:
    if code is None:
        people.check_registration(mode, newcomer)
        return
    with pytest.raises(Forbidden) as refused:
        people.check_registration(mode, newcomer)
    assert refused.value.code == code


@pytest.mark.parametrize("present", list(Role))
@pytest.mark.parametrize("giver", list(Role))
def test_nobody_changes_or_gives_more_than_they_are(giver: Role, present: Role) -> None:
    rank = list(Role).index
    for wanted in Role:
        allowed = rank(present) <= rank(giver) and rank(wanted) <= rank(giver)
        if allowed:
            teams.check_member_change(giver, present, wanted, owners=2)
        else:
            with pytest.raises(Forbidden):
                teams.check_member_change(giver, present, wanted, owners=2)


def test_the_last_owner_stays() -> None:
    for wanted in (None, Role.ADMIN):
        with pytest.raises(Conflict, match="last-owner"):
            teams.check_member_change(Role.OWNER, Role.OWNER, wanted, owners=1)
    teams.check_member_change(Role.OWNER, Role.OWNER, Role.OWNER, owners=1)


@pytest.mark.parametrize("typed", [None, "", "acm", "ACME", "Acme GmbH "])
def test_a_deletion_is_typed_in_full(typed: str | None) -> None:
    with pytest.raises(Invalid):
        teams.check_confirmation(typed, name="Acme GmbH", slug="acme")
    teams.check_confirmation("acme", name="Acme GmbH", slug="acme")
    teams.check_confirmation("Acme GmbH", name="Acme GmbH", slug="acme")


def test_a_pending_invitation_lapses_and_a_closed_one_does_not() -> None:
    now = clock.now()
    assert teams.invitation_state("pending", now + timedelta(seconds=1), now) is InvitationState.PENDING
    assert teams.invitation_state("pending", now, now) is InvitationState.LAPSED
    assert teams.invitation_state("accepted", now - timedelta(days=1), now) is InvitationState.ACCEPTED


@given(st.lists(SCOPES, max_size=4), st.lists(SCOPES, max_size=4))
def test_scopes_within_others_allow_nothing_more(inner: list[str], outer: list[str]) -> None:
    if tokens.is_within(inner, outer):
        for resource in RESOURCES:
            for action in Action:
                assert not scope_covers(inner, resource, action) or scope_covers(outer, resource, action)


def test_the_scope_admin_covers_every_other() -> None:
    assert tokens.is_within([*SCOPE_ALLOWS, "deployments:deploy"], ["admin"])
    assert not tokens.is_within(["read"], ["deployments:read"])


def test_a_token_is_read_back_as_it_was_written_and_never_shown_in_logs() -> None:
    token = Opaque(tokens.PERSONAL, clock.new_id(), clock.random_token())
    assert tokens.parse(str(token)) == token
    assert token.secret not in repr(token)
    assert tokens.fits(token.secret, tokens.digest(token.secret))
    assert not tokens.fits(token.secret, tokens.digest("another"))


@pytest.mark.parametrize("text", ["", "fl_pat_", f"fl_xxx_{'0' * 32}_{'a' * 43}", f"fl_pat_{'0' * 32}_{'a' * 44}", "Bearer x"])
def test_what_is_no_token_of_ours_is_none(text: str) -> None:
    assert tokens.parse(text) is None


def test_a_known_place_draws_only_on_a_limit_that_strangers_cannot_use_up() -> None:
    mine = throttle.draws_of_log_in("ann@example.org", "203.0.113.7", is_known_place=True)
    theirs = throttle.draws_of_log_in("ann@example.org", "198.51.100.1", is_known_place=False)
    assert not {draw.key for draw in mine} & {draw.key for draw in theirs}
    assert len(theirs) == 3


def test_guesses_a_minute_are_few() -> None:
    """One address at one account, one address at many, many addresses at one account: after the burst."""
    figures = [60 / limit.every_seconds for limit in (throttle.PAIR, throttle.ADDRESS, throttle.STRANGERS)]
    assert figures == [2, 10, 2]


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("nonsense", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_ipv6_customer_is_one_place(address: str | None, place: str) -> None:
    assert throttle.place(address) == place


def test_addresses_are_counted_without_being_kept() -> None:
    draws = throttle.draws_of_log_in("ann@example.org", None, is_known_place=False) + throttle.draws_of_mail("ann@example.org")
    assert "ann" not in str([draw.key for draw in draws])
