# User lists: written into the plan image (policy/users.pxd), and what libcrypt says of a hash.
from libc.stdint cimport uint32_t

from lb._speedups.base.password cimport password_problem
from lb._speedups.face.plan cimport Image
from lb._speedups.policy.route cimport route_hash
from lb._speedups.policy.users cimport user_t, userlist_t, users_t


def problem(bytes hash):
    if b"\0" in hash:
        return "holds a NUL"
    said = password_problem(<const char *> hash)
    return "" if said == NULL else (<bytes> said).decode()


cdef uint32_t slots_for(size_t n):
    cdef uint32_t size = 1
    while size < 2 * n:
        size *= 2
    return size if n != 0 else 2


def place(Image image, lists):
    """Take room for the lists; what it returns is for put()."""
    sizes = [slots_for(len(each)) for each in lists]
    at = image.place(1, sizeof(users_t))
    return at, image.place(len(lists), sizeof(userlist_t)), image.place(sum(sizes), sizeof(user_t)), sizes


def put(Image image, lists, placed):
    """Fill what place() took room for; return the offset of the users_t."""
    cdef users_t *users
    cdef userlist_t *out
    cdef user_t *slots
    cdef uint32_t i, first = 0
    cdef bytes name
    at, lists_at, slots_at, sizes = placed
    users = <users_t *> (image.base + <uint32_t> at)
    users.lists_at, users.lists = lists_at, len(lists)
    users.slots_at, users.slots = slots_at, sum(sizes)
    for number, (each, size) in enumerate(zip(lists, sizes, strict=True)):
        out = (<userlist_t *> (image.base + <uint32_t> lists_at)) + <uint32_t> number
        slots = (<user_t *> (image.base + <uint32_t> slots_at)) + first
        out.slots_at, out.slots = first, size
        for row in each:
            name = row.name
            i = route_hash(name, len(name), 0) & (out.slots - 1)
            while slots[i].name.len:
                i = (i + 1) & (out.slots - 1)
            image.text(&slots[i].name, name)
            image.text(&slots[i].secret, row.secret)
            slots[i].plain = row.plain
        first += size
    return at
