-- A leaky bucket that hands out several tokens at once, as the peers' limiter needs it.
-- KEYS: bucket; ARGV: capacity, tokens drained per second, tokens wanted. Replies tokens given.
local capacity, per_s, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call("TIME")
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local known = redis.call("HMGET", KEYS[1], "level", "at")
local level = math.max(0, (tonumber(known[1]) or 0) - (now - (tonumber(known[2]) or now)) * per_s)
local given = math.max(0, math.min(wanted, math.floor(capacity - level)))
redis.call("HSET", KEYS[1], "level", level + given, "at", string.format("%.6f", now))
redis.call("PEXPIRE", KEYS[1], math.ceil(capacity / per_s * 1000) + 1000)
return given
