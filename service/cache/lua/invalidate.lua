-- Stores an invalidation over all but newer entries, and publishes a message to near caches.
--
-- KEYS  the item's key
-- ARGV  the invalidation (version stamp, kind, nonce), its TTL in ms, the channel, the item's id
-- Reply 1, or 0 where an entry of the same or a newer version stamp is present and stays
-- A late invalidation over a newer one keeps the newer stamp, so that older fills stay forbidden.
-- The nonce is new all the same, so that fills which hold the old one fail.
--
-- Stamps are compared as numbers in pieces of 32 bits: Lua compares strings by the server's
-- locale, and as one number a version would lose its digits beyond 2^53.
local function newer_or_same(a, b)
  local a1, a2, a3 = struct.unpack('>I4I4I4', a)
  local b1, b2, b3 = struct.unpack('>I4I4I4', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  return a3 >= b3
end

redis.call('PUBLISH', ARGV[3], ARGV[4])
local invalidation = ARGV[1]
local stored = redis.pcall('GETRANGE', KEYS[1], 0, 12)
if type(stored) == 'table' then
  -- A key of another type counts as absent.
  if not stored.err:find('WRONGTYPE') then return stored end
  stored = ''
end
if #stored == 13 and newer_or_same(stored, invalidation) then
  local kind = stored:byte(13)
  -- Tombstone, absent, item, and an item as earlier releases wrote it.
  if kind == 7 or kind == 6 or kind >= 1 and kind <= 3 then return 0 end
  if kind == 4 then invalidation = stored .. invalidation:sub(14) end
end
redis.call('SET', KEYS[1], invalidation, 'PX', ARGV[2])
return 1
