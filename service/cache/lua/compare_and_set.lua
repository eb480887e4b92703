-- Compare and set, on every byte of the value.
--
-- KEYS  the item's key
-- ARGV  what is expected there (empty: nothing), the new value (empty: nothing), its TTL in ms
-- Reply the number 1 where the value was the expected one and is replaced, else what is there:
--       nil for nothing
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'table' then
  -- A key of another type holds nothing of ours.
  if not there.err:find('WRONGTYPE') then return there end
  there = false
end
if (there or '') ~= ARGV[1] then return there end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
