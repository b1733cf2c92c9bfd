"""The supervisor and its children: what is not traffic.

run          `lb run`: mapping, eventfds, zygote, loop, in this order
supervisor   start, reload, drain, stop; the one that decides
generation   a configuration in force and the numbers of its names
sockets      listening sockets, one per worker slot
workers      birth, heartbeat and death of workers
compiler     the child that reads a configuration
zygote       the process that children are forked from
child        a process known by its pidfd
channel      messages and descriptors between two processes
messages     all of these messages
journal      what lb says about itself
notify       what systemd says to lb at the start, and is told
limits       the limit on descriptors
"""
