"""Start a program as systemd does that holds its sockets: activate.py NAMES DESCRIPTOR... -- PROGRAM ARGUMENT...

The descriptors become 3, 4, ...; NAMES is the value of LISTEN_FDNAMES. What has these numbers goes away.
"""

import fcntl
import os
import sys

names, *words = sys.argv[1:]
at = words.index("--")
given, program = [int(word) for word in words[:at]], words[at + 1 :]
first = 3
# Out of the way first: a descriptor may already have the number of another one.
high = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in given]
for number, each in enumerate(high, first):
    os.dup2(each, number)
    os.close(each)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=names)
os.execv(program[0], program)
