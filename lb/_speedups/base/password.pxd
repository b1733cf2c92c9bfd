# Passwords and what they are kept as (crypt(3) of libcrypt): checked by a thread of their own, remembered under a keyed hash.
#
# A check takes milliseconds on purpose, so it is nothing for the thread that carries traffic. A worker that meets its first such
# password starts one C thread, which knows no Python, has every signal blocked and the lowest priority there is (nice 19): with
# traffic to carry it gets some 1.5 % of a core, without it all of one. The worker asks (password_ask), parks the stream, and is
# woken by its eventfd when an answer is there (password_collect). One check at a time: guessing is what has to be slow.
#
# What is asked twice is checked once: streams that ask the same while it is checked wait for the same job, and afterwards the
# answer is remembered. Right and wrong ones stand in tables of their own, so that no flood of wrong ones makes the others
# forgotten. Neither password nor hash is kept: an entry is 128 bits of SipHash under a secret of this worker, over both. So an
# answer holds for ever: another hash is another entry.
#
# Bounds. PASSWORD_JOBS checks wait at most, PASSWORD_EACH of them from one address; who comes then is told so (PASSWORD_BUSY),
# and not that he is wrong. A password of more than PASSWORD_MAX bytes or with a NUL is wrong.
#
# Locking. Jobs stand under `lock`, which is held for moments; hashing happens outside. Waiting lists and tables are the worker's.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass

cdef enum:
    PASSWORD_MAX = 255           # bytes of a password
    PASSWORD_HASH_MAX = 383      # bytes of what it is kept as
    PASSWORD_JOBS = 64           # checks that wait or are under way
    PASSWORD_EACH = 8            # of these, for one address
    PASSWORD_SETS = 1024         # of a table of answers, each of
    PASSWORD_WAYS = 4

cdef enum password_answer_t:
    PASSWORD_WRONG = 0
    PASSWORD_RIGHT
    PASSWORD_UNKNOWN             # it has to be checked
    PASSWORD_WAIT                # it is being checked
    PASSWORD_BUSY                # too many are

ctypedef struct password_key_t:
    uint64_t word[2]

ctypedef struct password_waiter_t:   # intrusive; the owner's memory
    password_waiter_t *next
    password_waiter_t *prev
    void *owner
    password_key_t key           # what it waits for, and when it was told:
    uint8_t answer               # PASSWORD_WAIT until then
    uint8_t listed               # it waits
    uint8_t job                  # where

cdef enum:                       # password_job_t.state
    JOB_FREE = 0
    JOB_QUEUED
    JOB_RUNNING
    JOB_DONE

ctypedef struct password_job_t:
    # under lock
    uint8_t state
    uint8_t answer               # JOB_DONE: PASSWORD_RIGHT, PASSWORD_WRONG
    uint64_t number              # the least is the oldest
    char hash[PASSWORD_HASH_MAX + 1]
    char password[PASSWORD_MAX + 1]
    # the worker's
    password_key_t key
    uint64_t who                 # hash of the address that asked first
    password_waiter_t *waiters

ctypedef struct passwords_t:
    # the worker's
    uint64_t secret[4]
    password_key_t *right        # PASSWORD_SETS * PASSWORD_WAYS each, the last used first; NULL = nothing was checked yet
    password_key_t *wrong
    password_job_t *jobs         # PASSWORD_JOBS
    password_waiter_t *told      # of the question that is being evaluated: who asks, or NULL
    uint64_t checked             # checks made, for people
    uint64_t numbers
    bint can_ask                 # what is evaluated may wait
    bint wanted                  # it does, for this:
    password_key_t wanted_key
    uint32_t wanted_hash_len
    uint32_t wanted_len
    char wanted_hash[PASSWORD_HASH_MAX + 1]
    char wanted_password[PASSWORD_MAX + 1]
    # the thread's
    int wakeup                   # eventfd to write when an answer is there
    bint running
    pthread_t thread
    pthread_mutex_t lock
    pthread_cond_t queued
    uint8_t ending               # under lock
    uint32_t done                # atomic: answers that wait to be collected

# Whether this build can check hashes, and what is wrong with one (NULL = nothing).
cdef bint password_can() noexcept nogil
cdef const char *password_problem(const char *hash) noexcept nogil

# An empty set of answers, without a thread. 0, or -1: no secret to be had.
cdef int passwords_init(passwords_t *p, int wakeup) noexcept nogil

# End the thread, after the check that is under way; nobody waits any more.
cdef void passwords_free(passwords_t *p) noexcept nogil

# Whether the password is the one that `hash` is of, without asking anybody: PASSWORD_RIGHT, PASSWORD_WRONG, or PASSWORD_UNKNOWN,
# and then, if what is evaluated may wait, it is noted as wanted.
cdef int password_known(passwords_t *p, const char *hash, uint32_t hash_len, const char *password, uint32_t n) noexcept nogil

# Have what is wanted checked; `w` is told. PASSWORD_WAIT, or PASSWORD_BUSY; `who` stands for the address that asks.
cdef int password_ask(passwords_t *p, password_waiter_t *w, uint64_t who) noexcept nogil

# It waits no more; the check goes on.
cdef void password_forget(passwords_t *p, password_waiter_t *w) noexcept nogil

# Take an answer: somebody who has got one and is not listed any more, or NULL. To be called until then, when `done` is not 0.
cdef password_waiter_t *password_collect(passwords_t *p) noexcept nogil

# Whether two texts of n bytes are the same, in a time that does not tell where they differ.
cdef inline bint password_same(const char *a, const char *b, size_t n) noexcept nogil:
    cdef uint8_t differ = 0
    cdef size_t i
    for i in range(n):
        differ |= <uint8_t> a[i] ^ <uint8_t> b[i]
    return differ == 0
