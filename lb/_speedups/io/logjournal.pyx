from libc.errno cimport EINTR, EMSGSIZE, errno
from libc.string cimport memcpy, memset
from libc.stdint cimport uint64_t
from posix.unistd cimport close, write


cdef extern from "<fcntl.h>" nogil:
    int F_ADD_SEALS
    int F_SEAL_SEAL
    int F_SEAL_SHRINK
    int F_SEAL_GROW
    int F_SEAL_WRITE
    int fcntl(int fd, int command, int argument)


cdef extern from "<sys/mman.h>" nogil:
    unsigned int MFD_CLOEXEC
    unsigned int MFD_ALLOW_SEALING
    int memfd_create(const char *name, unsigned int flags)


cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    int SCM_RIGHTS
    int SOL_SOCKET
    struct msghdr:
        void *msg_control
        size_t msg_controllen
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    unsigned char *CMSG_DATA(cmsghdr *control)
    size_t CMSG_LEN(size_t size)
    size_t CMSG_SPACE(size_t size)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)


cdef enum:
    KEY_MAX = 64                 # bytes of a field's name that journald takes


# The name of a field, from the JSON key at text[at:]; answers where its quote ends it, 0 = nowhere.
cdef size_t put_key(char *out, size_t *used, const char *text, size_t at, size_t len) noexcept nogil:
    cdef size_t n = 3
    cdef char c
    memcpy(out, <const char *>b"LB_", 3)
    while at < len and text[at] != 34:
        c = text[at]
        if 97 <= c <= 122:
            c = c - 32
        elif not (65 <= c <= 90 or 48 <= c <= 57):
            c = 95
        if n < KEY_MAX:
            out[n] = c
            n += 1
        at += 1
    used[0] = n
    return at + 1 if at < len else 0


# The value at text[at:], without quotes; answers where it ends, 0 = it is none or does not fit.
cdef size_t put_value(char *out, size_t room, size_t *used, const char *text, size_t at, size_t len) noexcept nogil:
    cdef bint quoted = text[at] == 34
    cdef size_t n = 0
    at += quoted
    while at < len:
        if quoted and text[at] == 34:
            used[0] = n
            return at + 1
        if not quoted and (text[at] == 44 or text[at] == 125):
            used[0] = n
            return at
        if quoted and text[at] == 92 and at + 1 < len and (text[at + 1] == 34 or text[at + 1] == 92):
            at += 1
        if n == room or text[at] == 10:
            return 0
        out[n] = text[at]
        n += 1
        at += 1
    return 0


cdef size_t journal_fields(char *out, const char *text, size_t len) noexcept nogil:
    cdef size_t at = 1, n = 1, key, value
    out[0] = 10
    if len == 0 or text[0] != 123:
        return n
    while at + 3 < len and text[at] == 34 and n + KEY_MAX + 2 < JOURNAL_FIELDS_MAX:
        at = put_key(out + n, &key, text, at + 1, len)
        if at == 0 or at + 1 >= len or text[at] != 58:
            break
        at += 1
        out[n + key] = 61
        if text[at] == 110:
            # null: what did not happen has no field.
            at += 4
        else:
            at = put_value(out + n + key + 1, JOURNAL_FIELDS_MAX - n - key - 2, &value, text, at, len)
            if at == 0:
                break
            out[n + key + 1 + value] = 10
            n += key + value + 2
        if at >= len or text[at] != 44:
            break
        at += 1
    return n


cdef int write_all(int fd, const char *data, size_t size) noexcept nogil:
    cdef ssize_t n
    while size:
        n = write(fd, data, size)
        if n < 0 and errno == EINTR:
            continue
        if n < 0:
            return -1
        data += n
        size -= n
    return 0


cdef int journal_send_large(int fd, const char *data, size_t size) noexcept nogil:
    cdef uint64_t control[8]
    cdef msghdr message
    cdef cmsghdr *rights
    cdef int failed = 0
    cdef int large = memfd_create(b"lb-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    if large < 0:
        (&errno)[0] = EMSGSIZE
        return -1
    if write_all(large, data, size) or fcntl(large, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE):
        failed = EMSGSIZE
    else:
        memset(&message, 0, sizeof(message))
        memset(control, 0, sizeof(control))
        message.msg_control = control
        message.msg_controllen = CMSG_SPACE(sizeof(int))
        rights = CMSG_FIRSTHDR(&message)
        rights.cmsg_level = SOL_SOCKET
        rights.cmsg_type = SCM_RIGHTS
        rights.cmsg_len = CMSG_LEN(sizeof(int))
        memcpy(CMSG_DATA(rights), &large, sizeof(int))
        if sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0:
            failed = errno
    close(large)
    (&errno)[0] = failed
    return -1 if failed else 0
