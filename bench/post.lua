-- For wrk: each request is a POST of 64 bytes.
wrk.method = "POST"
wrk.headers["Content-Type"] = "text/plain"
wrk.body = string.rep("0123456789abcdef", 4)
