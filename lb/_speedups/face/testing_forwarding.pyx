"""What a head says about its client, judged by a frontend of a plan image; for tests."""

from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from lb._speedups.policy.forwarding cimport (
    ADDRESS_TEXT, forwarding_address, forwarding_client, forwarding_is_id, forwarding_loops, forwarding_parse,
    forwarding_sweep, peer_t,
)
from lb._speedups.policy.plan cimport FRONTEND_FORWARDING, plan_check, plan_forwarding, plan_frontend, plan_t
from lb._speedups.proto.h1 cimport h1_read_request
from lb._speedups.proto.message cimport (
    FIELD_DELETED, MESSAGE_HEAD_MAX, MESSAGE_REQUEST, message_reset, message_strip_hop, message_t,
)

import time


cdef object peer_text(peer_t *peer):
    cdef char text[ADDRESS_TEXT]
    n = forwarding_address(peer, text)
    return text[:n].decode(), peer.port


def parse(bytes text, bint strict):
    cdef peer_t peer
    # A block of its own: what is read behind it is seen by a sanitizer.
    cdef char *exact = <char *> malloc(len(text) or 1)
    memcpy(exact, <char *> text, len(text))
    memset(&peer, 0, sizeof(peer))
    found = forwarding_parse(exact, len(text), strict, &peer)
    free(exact)
    return peer_text(&peer) if found else None


def is_id(bytes text):
    return forwarding_is_id(text, len(text))


cdef class Judge:
    cdef plan_t *p
    cdef message_t *m

    def __cinit__(self, bytes image):
        self.p = <plan_t *> malloc(len(image))
        self.m = <message_t *> calloc(1, sizeof(message_t))
        if self.p == NULL or self.m == NULL:
            raise MemoryError
        memcpy(self.p, <char *> image, len(image))
        if plan_check(self.p, len(image)):
            raise ValueError("plan_check refuses the image")
        if self.p.nfrontends == 0 or not plan_frontend(self.p, 0).flags & FRONTEND_FORWARDING:
            raise LookupError("its first frontend forwards nothing")

    def __dealloc__(self):
        free(self.p)
        free(self.m)

    def read(self, bytes head):
        if len(head) > MESSAGE_HEAD_MAX:
            raise ValueError("longer than a head may be")
        message_reset(self.m, MESSAGE_REQUEST)
        memcpy(self.m.block, <char *> head, len(head))
        self.m.fill = <uint16_t> len(head)
        status = h1_read_request(self.m)
        if status <= 0:
            raise ValueError(f"no head: {status}")

    def client(self):
        cdef peer_t peer
        memset(&peer, 0, sizeof(peer))
        found = forwarding_client(self.p, plan_forwarding(self.p, plan_frontend(self.p, 0)), self.m, &peer)
        return peer_text(&peer) if found else None

    def client_many(self, int times):
        cdef peer_t peer
        cdef int _i
        begin = time.perf_counter_ns()
        for _i in range(times):
            forwarding_client(self.p, plan_forwarding(self.p, plan_frontend(self.p, 0)), self.m, &peer)
        return (time.perf_counter_ns() - begin) / times

    def sweep(self, bint trusted):
        cdef uint16_t id = 0
        cdef uint32_t seen, i
        message_strip_hop(self.m)
        seen = forwarding_sweep(self.p, plan_forwarding(self.p, plan_frontend(self.p, 0)), self.m, trusted, &id)
        left = []
        for i in range(self.m.nfields):
            if not self.m.fields[i].flags & FIELD_DELETED:
                at = self.m.fields[i].name_at
                name = self.m.block[at:at + self.m.fields[i].name_len]
                at = self.m.fields[i].value_at
                left.append((name, self.m.block[at:at + self.m.fields[i].value_len]))
        return left, seen, id

    def loops(self):
        return forwarding_loops(self.p, plan_forwarding(self.p, plan_frontend(self.p, 0)), self.m)
