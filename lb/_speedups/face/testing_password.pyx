"""Checking passwords as a worker does, for tests."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from lb._speedups.base.password cimport (
    PASSWORD_BUSY, PASSWORD_RIGHT, PASSWORD_UNKNOWN, PASSWORD_WAIT, PASSWORD_WRONG, password_ask, password_collect,
    password_forget, password_known, password_waiter_t, passwords_free, passwords_init, passwords_t,
)

import os

cdef enum:
    WAITERS = 128

NAMES = {
    PASSWORD_WRONG: "wrong", PASSWORD_RIGHT: "right", PASSWORD_UNKNOWN: "unknown", PASSWORD_WAIT: "wait", PASSWORD_BUSY: "busy",
}


cdef class Passwords:
    cdef passwords_t p
    cdef password_waiter_t waiters[WAITERS]
    cdef readonly int wakeup

    def __cinit__(self):
        self.wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        memset(self.waiters, 0, sizeof(self.waiters))
        if passwords_init(&self.p, self.wakeup) != 0:
            raise OSError

    def close(self):
        passwords_free(&self.p)
        os.close(self.wakeup)

    def known(self, bytes hash, bytes password, told=None):
        """Ask without waiting; `told` is the waiter on whose behalf."""
        self.p.can_ask = True
        self.p.told = &self.waiters[<int> told] if told is not None else NULL
        return NAMES[password_known(&self.p, hash, len(hash), password, len(password))]

    def ask(self, int waiter, uint64_t who=0):
        """Have what known() did not know checked."""
        assert self.p.wanted
        return NAMES[password_ask(&self.p, &self.waiters[waiter], who)]

    def forget(self, int waiter):
        password_forget(&self.p, &self.waiters[waiter])

    def collect(self):
        """Take all answers that are there: {waiter: answer}."""
        cdef password_waiter_t *w
        answers = {}
        while True:
            w = password_collect(&self.p)
            if w == NULL:
                return answers
            answers[w - self.waiters] = NAMES[w.answer]

    @property
    def checked(self):
        return self.p.checked

    @property
    def running(self):
        return self.p.running
