"""Failures in a row: counted in one word, told at each multiple of the limit."""

from __future__ import annotations

import os

import pytest

from lb._speedups.face.mapping import OBJECT_BACKEND, OBJECT_PROCESS, OBJECT_SERVER, Mapping


@pytest.fixture
def mapping() -> Mapping:
    return Mapping.create()


def servers(mapping: Mapping, number: int) -> list[int]:
    process = mapping.register(OBJECT_PROCESS, 0, "lb")
    backend = mapping.register(OBJECT_BACKEND, process, "app")
    return [mapping.register(OBJECT_SERVER, backend, f"app/{n}") for n in range(number)]


def test_a_server_becomes_a_suspect_at_its_limit_and_at_each_multiple(mapping: Mapping) -> None:
    (oid,) = servers(mapping, 1)
    mapping.observe(oid, 3)
    told = []
    for _ in range(7):
        mapping.count_failure(oid)
        told.append(mapping.suspects())
    assert told == [[], [], [oid], [], [], [oid], []]
    assert mapping.failures(oid) == 7


def test_a_success_begins_the_count_anew(mapping: Mapping) -> None:
    (oid,) = servers(mapping, 1)
    mapping.observe(oid, 2)
    for _ in range(5):
        mapping.count_failure(oid)
        mapping.count_success(oid)
    assert mapping.suspects() == []
    assert mapping.failures(oid) == 0


def test_who_is_not_observed_is_not_counted(mapping: Mapping) -> None:
    (oid,) = servers(mapping, 1)
    for _ in range(5):
        mapping.count_failure(oid)
    assert (mapping.failures(oid), mapping.suspects()) == (0, [])


def test_a_new_limit_begins_the_count_anew(mapping: Mapping) -> None:
    (oid,) = servers(mapping, 1)
    mapping.observe(oid, 2)
    mapping.count_failure(oid)
    mapping.observe(oid, 2)
    mapping.count_failure(oid)
    assert mapping.suspects() == []


def test_many_suspects_are_taken_once_each(mapping: Mapping) -> None:
    oids = servers(mapping, 300)
    for oid in oids[::2]:
        mapping.observe(oid, 1)
        mapping.count_failure(oid)
        mapping.count_failure(oid)
    assert mapping.suspects() == oids[::2]
    assert mapping.suspects() == []


def test_the_alarm_rings_with_every_suspect(mapping: Mapping) -> None:
    (oid,) = servers(mapping, 1)
    mapping.observe(oid, 2)
    mapping.count_failure(oid)
    mapping.count_failure(oid)  # nobody to wake yet
    alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    mapping.set_alarm(alarm)
    mapping.count_failure(oid)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(alarm)
    # The bit is still set: who set it may have died before its alarm.
    mapping.count_failure(oid)
    assert os.eventfd_read(alarm) == 1
    assert mapping.suspects() == [oid]
    os.close(alarm)


def test_unknown_servers_are_errors(mapping: Mapping) -> None:
    for call in (mapping.failures, mapping.count_failure, mapping.count_success):
        with pytest.raises(KeyError):
            call(7)
    with pytest.raises(KeyError):
        mapping.observe(7, 1)
