-- For wrk: 4,096 different queries in turn, so that a hash has something to tell apart.
-- Every request is written once, before the load begins.
local requests, at = {}, 0

function init(_)
  for number = 1, 4096 do
    requests[number] = wrk.format(nil, string.format("%s?key=%d", wrk.path, number * 2654435761 % 4294967296))
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
