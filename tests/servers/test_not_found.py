"""Absence: one 404 is one replica's word; many, over minutes and unbroken, are the server's."""

from prefect_sora.limits import limits
from prefect_sora.servers.not_found import Absence
from prefect_sora.servers.profiles import Profile

LASTING_SECONDS, ANSWERS = Profile(name="any").lost_after_s, limits().absent_answers


def heard(absence: Absence, *said: tuple[float, bool]) -> list[bool]:
    """Hear answers, each at its time: whether the job is known. Say what each shows."""
    return [absence.found() if known else absence.missed(at) for at, known in said]


def test_it_is_believed_after_enough_answers_over_enough_time() -> None:
    every_five = [(float(at), False) for at in range(0, int(LASTING_SECONDS) + 1, 5)]
    believed = heard(Absence(LASTING_SECONDS), *every_five)
    assert believed == [False] * (len(every_five) - 1) + [True]


def test_many_answers_at_once_are_not_enough() -> None:
    assert not any(heard(Absence(LASTING_SECONDS), *[(1.0, False)] * 50))


def test_few_answers_over_a_long_time_are_not_enough() -> None:
    hours = [(3600.0 * n, False) for n in range(ANSWERS)]
    assert heard(Absence(LASTING_SECONDS), *hours) == [False] * (ANSWERS - 1) + [True]


def test_a_job_that_is_found_is_looked_for_from_the_beginning() -> None:
    absence = Absence(lasting_s=10.0)
    heard(absence, *[(float(n), False) for n in range(5)], (5.0, True))
    assert not any(heard(absence, *[(6.0 + n, False) for n in range(10)]))


def test_a_job_that_is_found_twice_contradicts_nothing() -> None:
    assert heard(Absence(LASTING_SECONDS), (0.0, True), (1.0, True)) == [False, False]


def test_a_fresh_job_that_shows_up_late_is_no_sign_of_replicas() -> None:
    absence = Absence(LASTING_SECONDS)
    assert heard(absence, (0.0, False), (1.0, False), (2.0, True)) == [False, False, False]
    assert not absence.contradicted


def test_a_job_that_was_known_and_not_and_again_is_told_once_and_never_lost() -> None:
    absence = Absence(lasting_s=1.0)
    assert heard(absence, (0.0, True), (1.0, False), (2.0, True)) == [False, False, True]
    assert heard(absence, (3.0, False), (4.0, True)) == [False, False]
    assert not any(heard(absence, *[(5.0 + n, False) for n in range(999)]))
