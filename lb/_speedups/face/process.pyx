# The few process controls of Linux that Python does not offer.
from libc.errno cimport errno

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, ...)
    enum:
        PR_SET_CHILD_SUBREAPER
        PR_SET_NAME


def become_subreaper():
    if prctl(PR_SET_CHILD_SUBREAPER, <unsigned long> 1, <unsigned long> 0, <unsigned long> 0, <unsigned long> 0) != 0:
        raise OSError(errno, "prctl(PR_SET_CHILD_SUBREAPER)")


def set_name(str name):
    cdef bytes text = name.encode()[:15]
    if prctl(PR_SET_NAME, <const char *> text, <unsigned long> 0, <unsigned long> 0, <unsigned long> 0) != 0:
        raise OSError(errno, "prctl(PR_SET_NAME)")
