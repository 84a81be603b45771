-- The entry KEYS[1] if each of its tags still has the generation that the entry holds; 0 if one has not; nothing if it is
-- not there. What is no entry is returned as it is: the reader finds out. A generation's name is ARGV[1] and its tag's
-- number in hex; an entry begins with ARGV[2]; its number of tags is after ARGV[3] bytes, its tags after ARGV[4]; it has
-- at most ARGV[5] tags.
local entry = redis.call('GET', KEYS[1])
if not entry then return false end
local count_at, tags_at = tonumber(ARGV[3]), tonumber(ARGV[4])
if #entry < tags_at or string.sub(entry, 1, #ARGV[2]) ~= ARGV[2] then return entry end
local count = struct.unpack('<I4', entry, count_at + 1)
if count == 0 or count > tonumber(ARGV[5]) or #entry < tags_at + 16 * count then return entry end
local names = {}
for i = 1, count do
  local at = tags_at + 16 * (i - 1) + 1
  local a, b, c, d, e, f, g, h = string.byte(entry, at, at + 7)
  names[i] = ARGV[1] .. string.format('%02x%02x%02x%02x%02x%02x%02x%02x', h, g, f, e, d, c, b, a)
end
local now = redis.call('MGET', unpack(names))
for i = 1, count do
  local at = tags_at + 16 * (i - 1) + 9
  if now[i] ~= string.sub(entry, at, at + 7) then return 0 end
end
return entry
