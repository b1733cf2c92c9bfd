"""Health: which servers are well, by asking them and by what traffic shows. All of it runs in the supervisor.

states    what is known of every server and backend; the one writer of who is usable
tally     how results in a row add up to up and down
finding   what one check has found
status    what a check can find, in HAProxy's words
wording   the lines that events are told in, HAProxy's too
schedule  when what is due
probe     connections to servers, many at a time
http      what is said on them by a check of type http
conversation  the same by steps
"""
