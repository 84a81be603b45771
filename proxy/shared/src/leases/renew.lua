-- KEYS[1]: who holds a number. ARGV[1]: who says so. ARGV[2]: for how many milliseconds more.
-- The store's clock, in milliseconds; nothing if somebody else holds the number, or nobody.
local time = redis.call('TIME')
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
return false
