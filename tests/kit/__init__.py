"""What integration and soak tests are made of.

`wire` is a socket with deadlines; `client` and `server` are scripted peers on it, read by h11. `settings` writes
configurations. A `plane` runs lb on one: `inprocess` (the engine in this process, also with disturbed transports),
`daemon` (`lb run`), `haproxy` (Debian's, to prove a test where both must agree). A `stage` owns all of these for
one test, takes them down in order and fails the test for whatever is left over.

Nothing here sleeps: it waits for an event, and `deadline` bounds each wait.
"""
