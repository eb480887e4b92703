-- Whatever this server did not receive in this run of its own may be old: start cold instead.
--
-- KEYS  where the run is remembered
-- Reply 1 where the data was of another run (or there was none) and is gone now
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[1]) == run then return 0 end
redis.call('FLUSHDB', 'ASYNC')
redis.call('SET', KEYS[1], run)
return 1
