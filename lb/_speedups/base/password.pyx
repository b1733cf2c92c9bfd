from libc.errno cimport EINTR, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcpy, memset, strlen

from lb._speedups.base.siphash cimport siphash13

cdef extern from "<pthread.h>" nogil:
    int pthread_create(pthread_t *thread, void *attributes, void *(*body)(void *) noexcept nogil, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_mutex_init(pthread_mutex_t *mutex, void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_cond_init(pthread_cond_t *condition, void *attributes)
    int pthread_cond_destroy(pthread_cond_t *condition)
    int pthread_cond_signal(pthread_cond_t *condition)
    int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
    int pthread_setname_np(pthread_t thread, const char *name)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int sigfillset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)
    int SIG_SETMASK

cdef extern from "<sys/resource.h>" nogil:
    int PRIO_PROCESS
    int setpriority(int which, unsigned int who, int priority)

cdef extern from "<unistd.h>" nogil:
    int gettid()
    ssize_t write(int fd, const void *bytes, size_t n)

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *buf, size_t n, unsigned int flags)

cdef extern from "<string.h>" nogil:
    void explicit_bzero(void *at, size_t n)

cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint x)
    uint32_t lb_load_u32(const uint32_t *p) noexcept
    uint32_t lb_fetch_add_u32(uint32_t *p, uint32_t n) noexcept
    uint32_t lb_fetch_sub_u32(uint32_t *p, uint32_t n) noexcept
    void LB_ASSERT(bint condition)

cdef extern from "base/crypt.h" nogil:
    const bint LB_CRYPT
    size_t LB_CRYPT_DATA
    const char *lb_crypt(const char *password, const char *setting, void *data)
    const char *lb_crypt_problem(const char *setting)


cdef enum:
    NICE = 19
    KEY_WORDS = (PASSWORD_HASH_MAX + PASSWORD_MAX + 16) // 8


cdef bint password_can() noexcept nogil:
    return LB_CRYPT


cdef const char *password_problem(const char *hash) noexcept nogil:
    if strlen(hash) > PASSWORD_HASH_MAX:
        return b"is too long"
    return lb_crypt_problem(hash)


cdef int passwords_init(passwords_t *p, int wakeup) noexcept nogil:
    memset(p, 0, sizeof(passwords_t))
    p.wakeup = wakeup
    return 0 if getrandom(p.secret, sizeof(p.secret), 0) == sizeof(p.secret) else -1


# ---- what is known ----


cdef void key_of(const passwords_t *p, const char *hash, uint32_t hash_len, const char *password, uint32_t n,
                 password_key_t *out) noexcept nogil:
    cdef uint64_t words[KEY_WORDS]
    cdef char *at = <char *> words
    cdef uint32_t nwords = (hash_len + 1 + n + 7) // 8
    words[nwords - 1] = 0
    memcpy(at, hash, hash_len)
    at[hash_len] = 0                          # no hash holds one: what is in front of it is told from what is behind
    memcpy(at + hash_len + 1, password, n)
    out.word[0] = siphash13(p.secret, words, nwords, <uint64_t> (hash_len + 1 + n) << 56) | 1    # 0 is an empty entry
    out.word[1] = siphash13(p.secret + 2, words, nwords, <uint64_t> (hash_len + 1 + n) << 56)
    explicit_bzero(words, sizeof(words))


cdef inline bint same(const password_key_t *a, const password_key_t *b) noexcept nogil:
    return ((a.word[0] ^ b.word[0]) | (a.word[1] ^ b.word[1])) == 0


# Put a key first in its set; what was last is forgotten.
cdef void remember(password_key_t *table, const password_key_t *key, int at) noexcept nogil:
    cdef password_key_t *set_ = table + (key.word[1] & (PASSWORD_SETS - 1)) * PASSWORD_WAYS
    while at > 0:
        set_[at] = set_[at - 1]
        at -= 1
    set_[0] = key[0]


cdef bint has(password_key_t *table, const password_key_t *key) noexcept nogil:
    cdef password_key_t *set_ = table + (key.word[1] & (PASSWORD_SETS - 1)) * PASSWORD_WAYS
    cdef int i
    for i in range(PASSWORD_WAYS):
        if same(&set_[i], key):
            remember(table, key, i)
            return True
    return False


cdef int password_known(passwords_t *p, const char *hash, uint32_t hash_len, const char *password, uint32_t n) noexcept nogil:
    cdef password_key_t key
    if n > PASSWORD_MAX or hash_len > PASSWORD_HASH_MAX or memchr(password, 0, n) != NULL or not LB_CRYPT:
        return PASSWORD_WRONG
    key_of(p, hash, hash_len, password, n, &key)
    if p.told != NULL and p.told.answer < PASSWORD_UNKNOWN and same(&p.told.key, &key):
        return p.told.answer
    if p.right != NULL:
        if has(p.right, &key):
            return PASSWORD_RIGHT
        if has(p.wrong, &key):
            return PASSWORD_WRONG
    if p.can_ask:
        p.wanted = True
        p.wanted_key = key
        p.wanted_hash_len = hash_len
        memcpy(p.wanted_hash, hash, hash_len)
        p.wanted_hash[hash_len] = 0
        p.wanted_len = n
        memcpy(p.wanted_password, password, n)
        p.wanted_password[n] = 0
    return PASSWORD_UNKNOWN


# ---- the thread ----


# Under the lock: the oldest that waits, or NULL.
cdef password_job_t *next_job(passwords_t *p) noexcept nogil:
    cdef password_job_t *found = NULL
    cdef int i
    for i in range(PASSWORD_JOBS):
        if p.jobs[i].state == JOB_QUEUED and (found == NULL or p.jobs[i].number < found.number):
            found = &p.jobs[i]
    return found


cdef uint8_t check(password_job_t *job, void *data) noexcept nogil:
    cdef const char *made = lb_crypt(job.password, job.hash, data)
    cdef size_t n = strlen(job.hash)
    if made == NULL or strlen(made) != n:
        return PASSWORD_WRONG
    return PASSWORD_RIGHT if password_same(made, job.hash, n) else PASSWORD_WRONG


cdef void *run(void *argument) noexcept nogil:
    cdef passwords_t *p = <passwords_t *> argument
    cdef void *data = calloc(1, LB_CRYPT_DATA)
    cdef password_job_t *job
    cdef uint8_t answer
    cdef uint64_t one = 1
    setpriority(PRIO_PROCESS, <unsigned int> gettid(), NICE)
    pthread_mutex_lock(&p.lock)
    while not p.ending:
        job = next_job(p)
        if job == NULL:
            pthread_cond_wait(&p.queued, &p.lock)
            continue
        job.state = JOB_RUNNING
        pthread_mutex_unlock(&p.lock)
        answer = check(job, data) if data != NULL else <uint8_t> PASSWORD_WRONG
        if data != NULL:
            explicit_bzero(data, LB_CRYPT_DATA)
        explicit_bzero(job.password, sizeof(job.password))
        pthread_mutex_lock(&p.lock)
        job.answer = answer
        job.state = JOB_DONE
        lb_fetch_add_u32(&p.done, 1)
        while write(p.wakeup, &one, sizeof(one)) < 0 and errno == EINTR:
            pass
    pthread_mutex_unlock(&p.lock)
    free(data)
    return NULL


cdef int start(passwords_t *p) noexcept nogil:
    cdef sigset_t every
    cdef sigset_t before
    cdef int r
    if p.running:
        return 0
    if p.jobs == NULL:
        p.jobs = <password_job_t *> calloc(PASSWORD_JOBS, sizeof(password_job_t))
        p.right = <password_key_t *> calloc(PASSWORD_SETS * PASSWORD_WAYS, sizeof(password_key_t))
        p.wrong = <password_key_t *> calloc(PASSWORD_SETS * PASSWORD_WAYS, sizeof(password_key_t))
        if p.jobs == NULL or p.right == NULL or p.wrong == NULL:
            drop(p)
            return -1
    if pthread_mutex_init(&p.lock, NULL) != 0:
        return -1
    if pthread_cond_init(&p.queued, NULL) != 0:
        pthread_mutex_destroy(&p.lock)
        return -1
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &before)
    r = pthread_create(&p.thread, NULL, run, p)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    if r != 0:
        pthread_cond_destroy(&p.queued)
        pthread_mutex_destroy(&p.lock)
        return -1
    pthread_setname_np(p.thread, b"lb-password")
    p.running = True
    return 0


cdef void drop(passwords_t *p) noexcept nogil:
    free(p.jobs)
    free(p.right)
    free(p.wrong)
    p.jobs = NULL
    p.right = NULL
    p.wrong = NULL


cdef void passwords_free(passwords_t *p) noexcept nogil:
    if p.running:
        pthread_mutex_lock(&p.lock)
        p.ending = 1
        pthread_cond_signal(&p.queued)
        pthread_mutex_unlock(&p.lock)
        pthread_join(p.thread, NULL)
        pthread_cond_destroy(&p.queued)
        pthread_mutex_destroy(&p.lock)
        p.running = False
    if p.jobs != NULL:
        explicit_bzero(p.jobs, PASSWORD_JOBS * sizeof(password_job_t))
    drop(p)


# ---- asking ----


cdef void join(password_job_t *job, password_waiter_t *w, int index) noexcept nogil:
    w.key = job.key
    w.answer = PASSWORD_WAIT
    w.listed = 1
    w.job = <uint8_t> index
    w.prev = NULL
    w.next = job.waiters
    if job.waiters != NULL:
        job.waiters.prev = w
    job.waiters = w


# The place for another check: a free job, or -1. `same_key` is set to one that checks the very same, else -1.
cdef int find_place(passwords_t *p, uint64_t who, int *same_key) noexcept nogil:
    cdef int i, place = -1
    cdef uint32_t of_who = 0
    same_key[0] = -1
    for i in range(PASSWORD_JOBS):
        if p.jobs[i].state == JOB_FREE:
            if place < 0:
                place = i
            continue
        if same(&p.jobs[i].key, &p.wanted_key):
            same_key[0] = i
            return place
        of_who += p.jobs[i].who == who
    return place if of_who < PASSWORD_EACH else -1


cdef int password_ask(passwords_t *p, password_waiter_t *w, uint64_t who) noexcept nogil:
    cdef password_job_t *job
    cdef int place, found
    p.wanted = False
    if start(p) != 0:
        return PASSWORD_BUSY
    pthread_mutex_lock(&p.lock)
    place = find_place(p, who, &found)
    if found >= 0:
        join(&p.jobs[found], w, found)
    elif place >= 0:
        job = &p.jobs[place]
        p.numbers += 1
        job.number = p.numbers
        job.key = p.wanted_key
        job.who = who
        job.waiters = NULL
        memcpy(job.hash, p.wanted_hash, p.wanted_hash_len + 1)
        memcpy(job.password, p.wanted_password, p.wanted_len + 1)
        job.state = JOB_QUEUED
        join(job, w, place)
        pthread_cond_signal(&p.queued)
    pthread_mutex_unlock(&p.lock)
    explicit_bzero(p.wanted_password, sizeof(p.wanted_password))
    return PASSWORD_WAIT if found >= 0 or place >= 0 else PASSWORD_BUSY


cdef void password_forget(passwords_t *p, password_waiter_t *w) noexcept nogil:
    if not w.listed:
        return
    if w.prev != NULL:
        w.prev.next = w.next
    else:
        p.jobs[w.job].waiters = w.next
    if w.next != NULL:
        w.next.prev = w.prev
    w.listed = 0


cdef password_waiter_t *password_collect(passwords_t *p) noexcept nogil:
    cdef password_job_t *job
    cdef password_waiter_t *w
    cdef int i
    if p.jobs == NULL:
        return NULL
    for i in range(PASSWORD_JOBS):
        job = &p.jobs[i]
        pthread_mutex_lock(&p.lock)
        if job.state != JOB_DONE:
            pthread_mutex_unlock(&p.lock)
            continue
        w = job.waiters
        if w == NULL:
            # All have been told: the answer is remembered, and the job is free.
            remember(p.right if job.answer == PASSWORD_RIGHT else p.wrong, &job.key, PASSWORD_WAYS - 1)
            job.state = JOB_FREE
            p.checked += 1
            lb_fetch_sub_u32(&p.done, 1)
        pthread_mutex_unlock(&p.lock)
        if w != NULL:
            password_forget(p, w)
            w.answer = job.answer
            return w
    return NULL
