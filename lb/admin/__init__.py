"""The admin socket: HAProxy's Runtime API on a unix socket of the supervisor.

server       connections: lines, prompt, terminators, time limits
commands     the commands, all in one table
statistics   `show stat`
information  `show info`
rates        what both show per second
process      what all of them need of the supervisor
"""
