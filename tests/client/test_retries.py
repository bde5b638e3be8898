"""The steps of a call by a clock of the test's own: it ends within its deadline, and asks no more than it may."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.client import answers
from nightshift.client.answers import NotAnAnswerError
from nightshift.client.errors import RefusedError, UnavailableError
from nightshift.client.retries import Outcome, Policy, Reply, Request, RetryBudget, Send, Wait, ask

REQUEST = Request("GET", "/")
GOOD = Reply(200, {}, b"{}")


@dataclass
class Play:
    """A call that was driven: what became of it, how often it was sent, and when it was over."""

    result: Reply | Exception
    sent: int
    over: float


def play(policy: Policy, outcomes: list[tuple[Outcome, float]], draw: float = 1.0) -> Play:
    """Drive a call. Each try takes a share of the time that it is given, then has its outcome; then all is well."""
    now, sent = 100.0, 0
    steps = ask(REQUEST, policy, RetryBudget(), lambda: now, lambda: draw)
    outcome: Outcome = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as done:
            return Play(done.value, sent, now - 100)
        except (UnavailableError, RefusedError) as error:
            return Play(error, sent, now - 100)
        outcome = None
        if isinstance(step, Wait):
            assert step.seconds >= 0
            now += step.seconds
        else:
            assert isinstance(step, Send)
            outcome, share = outcomes[sent] if sent < len(outcomes) else (GOOD, 0.0)
            now += step.timeout * share
            sent += 1


failures = st.sampled_from(
    [
        UnavailableError("cut off"),
        Reply(503, {}, b""),
        Reply(503, {"retry-after": "1"}, b""),
        Reply(429, {"retry-after": "soon"}, b""),
        Reply(500, {}, b"\xff"),
    ]
)
policies = st.builds(
    Policy,
    deadline=st.floats(1, 10),
    attempt=st.floats(0.01, 1),
    attempts=st.integers(1, 6),
    first_wait=st.floats(0, 2),
    longest_wait=st.floats(0, 4),
)


@given(policies, st.lists(st.tuples(failures, st.floats(0, 1)), max_size=8), st.floats(0, 1))
def test_a_call_ends_within_its_deadline_whatever_happens(
    policy: Policy, outcomes: list[tuple[Outcome, float]], draw: float
) -> None:
    played = play(policy, outcomes, draw)
    assert played.over <= policy.deadline + 0.0011  # a try gets a millisecond, even at the end
    assert 1 <= played.sent <= policy.attempts
    if played.result is GOOD:
        assert played.sent == len(outcomes) + 1
    else:
        assert isinstance(played.result, UnavailableError)


def test_waits_double_up_to_the_longest_and_are_drawn_from_the_whole_of_it() -> None:
    policy = Policy(deadline=100, attempt=1, attempts=5, first_wait=1, longest_wait=3)
    outcomes: list[tuple[Outcome, float]] = [(UnavailableError("cut off"), 0.0)] * 5
    assert play(policy, outcomes, draw=1.0).over == pytest.approx(1 + 2 + 3 + 3)
    assert play(policy, outcomes, draw=0.5).over == pytest.approx((1 + 2 + 3 + 3) / 2)
    assert play(policy, outcomes, draw=0.0).over == 0
    assert str(play(policy, outcomes).result) == "cut off (5 tries)"


def test_the_service_says_when_to_come_again() -> None:
    policy = Policy(deadline=10, attempt=1, first_wait=0.5)
    busy: tuple[Outcome, float] = (Reply(503, {"retry-after": "3"}, b""), 0.0)
    played = play(policy, [busy], draw=0.0)
    assert (played.result, played.sent, played.over) == (GOOD, 2, 3)
    late = play(Policy(deadline=2, attempt=1), [busy])
    assert (late.sent, late.over) == (1, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 301])
def test_what_is_refused_is_not_asked_again(status: int) -> None:
    problem = orjson.dumps({"detail": "k must be a whole number"})
    played = play(Policy(), [(Reply(status, {}, problem), 0.0)])
    assert isinstance(played.result, RefusedError)
    assert (played.sent, str(played.result)) == (1, f"{status}: k must be a whole number")


@pytest.mark.parametrize("wrong", [{"attempt": 0}, {"attempt": 1.0}, {"attempts": 0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Policy(**wrong)  # type: ignore[arg-type]


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["items", "results", "user_id", "item_id", "run_date", "run_id", "model", "surface"]), inner
        )
    ),
)


@given(json.map(orjson.dumps) | st.binary(max_size=20))
def test_a_body_that_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    for read in (answers.recommendations, answers.similar, lambda body: answers.batch(body, ["17850"])):
        with pytest.raises(NotAnAnswerError):
            read(body)


def test_a_batch_of_others_is_no_answer() -> None:
    stamp = {
        "surface": "home",
        "run_date": "2011-11-30",
        "run_id": "a",
        "model": {"name": "", "version": "", "kind": ""},
    }
    body = orjson.dumps({**stamp, "results": [{"user_id": "2", "items": []}]})
    assert answers.batch(body, ["2"])[0].user_id == "2"
    with pytest.raises(NotAnAnswerError, match="not of the users"):
        answers.batch(body, ["1"])


def test_the_contracts_answer_is_read_whole() -> None:
    """As the service's contract has it: with a variant, experiments, and why a list is degraded."""
    body = orjson.dumps(
        {
            "surface": "home",
            "run_date": "2011-11-30",
            "run_id": "night",
            "model": {"name": "m", "version": "7", "kind": "two_stage"},
            "variant": "challenger",
            "experiments": {"ranking": "challenger"},
            "user_id": "17850",
            "degraded": {"level": "segment", "reason": "the run does not know this user"},
            "items": [{"item_id": "1", "title": None, "score": 0.5, "source": "repeat", "reason": "r", "new": 1}],
            "new": 2,
        }
    )
    answer = answers.recommendations(body)
    assert answer.run
    assert (answer.run.variant, answer.run.experiments) == ("challenger", {"ranking": "challenger"})
    assert answer.degraded == answers.Degraded("segment", "the run does not know this user")
    assert answer.items == (answers.Item("1", None, 0.5, "repeat", "r"),)
