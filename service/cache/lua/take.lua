-- One worker's update of a leaky bucket: report used tokens, keep some, reserve more.
--
-- KEYS  the bucket; the time of birth of this Redis's data
-- ARGV  worker, seq, used, keep, now, ahead: tokens of the caller's lease, see quota_leases.py
--       seen: tat of the caller's last reply, 0 for none; debt: tokens passed without Redis
--       capacity (tokens), tau (microseconds that drain one token), lease (its TTL in µs)
-- Reply {n: tokens of the new lease, free, tat, seq, t, others: number of other leases}
--
-- The state is {tat, {worker = {n, expires, seq}}}, times in µs: tat is when the bucket will be
-- empty. Always (tat - t)/tau + the sum of all n <= capacity.
local worker, seq = ARGV[1], tonumber(ARGV[2])
local used, keep = tonumber(ARGV[3]), tonumber(ARGV[4])
local now, ahead = tonumber(ARGV[5]), tonumber(ARGV[6])
local seen, debt = tonumber(ARGV[7]), tonumber(ARGV[8])
local capacity, tau, ttl = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

local clock = redis.call('TIME')
local t = clock[1] * 1000000 + clock[2]

local tat, leases
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'table' and not stored.err:find('WRONGTYPE') then return stored end
local ours, state = pcall(cmsgpack.unpack, stored)
if ours and type(state) == 'table' and tonumber(state[1]) and type(state[2]) == 'table' then
  tat, leases = state[1], state[2]
else
  -- Young data: the bucket may have been lost with the rest, so it does not start empty.
  local born = tonumber(redis.call('GET', KEYS[2]))
  if not born or born > t then
    born = t
    redis.call('SET', KEYS[2], string.format('%.0f', t))
  end
  local age = math.max(0, t - born)
  tat, leases = t + math.max(0, 0.75 * capacity * tau - age), {}
end

-- Restores lost state from the worker's copy; the bound corrects a clock that was set back.
tat = math.min(math.max(tat, seen), t + capacity * tau)

for other, lease in pairs(leases) do
  lease[2] = math.min(lease[2], t + ttl)
  if lease[2] <= t then
    tat = math.max(tat, t) + lease[1] * tau
    leases[other] = nil
  end
end
tat = math.max(tat, t) + debt * tau

local mine, have = leases[worker], 0
if mine and mine[3] == seq then
  local u = math.min(used, mine[1])
  tat = math.max(tat, t) + u * tau
  have = math.min(keep, mine[1] - u)
else
  -- A reply was lost or the lease ended: all tokens that it may have admitted count as used.
  tat = math.max(tat, t) + (used + (mine and mine[1] or 0)) * tau
end

local reserved, others, last = 0, 0, t
for other, lease in pairs(leases) do
  if other ~= worker then
    reserved, others = reserved + lease[1], others + 1
    last = math.max(last, lease[2])
  end
end
local free = capacity - math.max(0, tat - t) / tau - reserved - have
now = math.max(0, math.min(now, math.floor(free)))
ahead = math.max(0, math.min(ahead, math.floor((free - now) / (2 * (others + 1)))))

local n = have + now + ahead
leases[worker] = {n, t + ttl, seq + 1}
last = math.max(last, t + ttl)

-- Kept until the bucket would be empty with every lease used up, and at least as long as a
-- missing bucket counts as lost; then its absence means the same as its presence.
local empty = math.max(tat, last) + capacity * tau
redis.call('SET', KEYS[1], cmsgpack.pack({tat, leases}), 'PX', math.ceil((empty - t) / 1000))
return {n, string.format('%.6f', free - now - ahead), string.format('%.3f', tat), seq + 1,
  string.format('%.0f', t), others}
