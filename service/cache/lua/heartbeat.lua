-- Records that a worker is alive, and when this Redis's data began; counts living workers.
--
-- KEYS  workers (sorted set by time of the last sign of life); the time of birth, see take.lua
-- ARGV  worker, seconds after which a silent one counts as gone
-- Reply the number of living workers, this one included
local clock = redis.call('TIME')
local t = clock[1] * 1000000 + clock[2]
redis.call('SET', KEYS[2], string.format('%.0f', t), 'NX')
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then redis.call('DEL', KEYS[1]) end
redis.call('ZADD', KEYS[1], string.format('%.0f', t), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', t - ARGV[2] * 1000000))
return redis.call('ZCARD', KEYS[1])
