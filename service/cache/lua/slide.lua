-- Extends the TTL of an entry that was read, up to its maximum age.
--
-- KEYS  the item's key
-- ARGV  the entry's first bytes up to its time of birth, TTL and greatest age in ms
-- Reply 1 where it was extended
local there = redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if type(there) == 'table' and not there.err:find('WRONGTYPE') then return there end
if there ~= ARGV[1] then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local born = struct.unpack('>I4', ARGV[1], 14) * 1000
local left = math.min(tonumber(ARGV[2]), born + ARGV[3] - now)
if left <= 0 then return 0 end
return redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
