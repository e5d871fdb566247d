from unhitch_server.upstream.breaker import Breaker


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(time: Time) -> Breaker:
    breaker = Breaker(failures=3, open_seconds=10, clock=time)
    for _ in range(3):
        breaker.failed("refused")
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures=3)
    for _ in range(2):
        breaker.failed("x")
    breaker.completed()
    for _ in range(2):
        breaker.failed("x")
    assert breaker.state == "closed"
    breaker.failed("refused")
    assert (breaker.state, breaker.admits(), breaker.words) == ("open", False, "refused")


def test_an_answer_that_begins_and_breaks_is_a_failure_all_the_same() -> None:
    breaker = Breaker(failures=3)
    for _ in range(3):
        breaker.answered()
        breaker.failed("broke")
    assert breaker.state == "open"


def test_after_its_time_one_request_is_tried() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10.0
    assert breaker.admits()
    assert breaker.begin()
    assert not breaker.admits(), "no second one meanwhile"


def test_the_request_on_trial_closes_it_by_an_answer() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10.0
    breaker.begin()
    breaker.answered()
    assert breaker.state == "closed"


def test_the_request_on_trial_keeps_it_open_by_a_failure() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10.0
    breaker.begin()
    breaker.failed("refused")
    breaker.abandon()
    assert (breaker.state, breaker.opens_in_seconds) == ("open", 10.0)


def test_a_trial_that_says_nothing_lets_another_one_be_tried() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10.0
    breaker.begin()
    breaker.abandon()
    assert breaker.admits()


def test_a_sign_of_life_has_a_request_tried_at_once() -> None:
    breaker = opened(Time())
    breaker.hurry()
    assert breaker.state == "half-open"
    assert breaker.admits()
