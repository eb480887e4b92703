-- Compare and set, on every byte of the value.
--
-- KEYS  the item's key
-- ARGV  the expected value (empty: absent), the new value (empty: delete), its TTL in ms
-- Reply the number 1 if the value was the expected one and was replaced, else the present value:
--       nil for nothing
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'table' then
  -- A key of another type counts as absent.
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
