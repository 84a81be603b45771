-- KEYS[1]: who holds a number. ARGV[1]: who wants to. ARGV[2]: for how many milliseconds.
-- The store's clock, in milliseconds; nothing if the number is held.
local time = redis.call('TIME')
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
return false
