"""What has to be done in Redis in one step: Lua scripts. Pure.

The keys of a run, all on one server of a cluster:

| key | what it holds |
| --- | --- |
| head | a hash: the job, its state, counts, why it ended early |
| blocks | a stream with one entry for each block; the group `hosts` hands them out |
| intents | a hash: for each Space the instants of its announcements, and the state before |
| ends | a hash: the outcome of each Space |
| started | a set: the Spaces that the waves have let start |
| claims | a hash: when each block was claimed first |
| left | a hash: how many Spaces of each block have no outcome |

Each script may be run twice with the same arguments, where the answer to the first was
lost. Time is the server's. Redis 6.2 and Valkey know all that is used here.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BEGIN",
    "CANCEL",
    "CLAIM",
    "COUNT",
    "INTEND",
    "KEEP_SECONDS",
    "KEYS",
    "LOAD",
    "PAGE",
    "READY",
    "RELEASE",
    "RENEW",
    "SETTLE",
    "START",
]

KEYS: Final = ("head", "blocks", "intents", "ends", "started", "claims", "left")
KEEP_SECONDS: Final = 30 * 86_400
"""How long a run is kept after its last use."""
LOADING_KEEP_SECONDS: Final = 86_400
"""The same while its blocks are loaded: the host that loads it may be lost."""

_COMMON: Final = """
local head, blocks, intents, ends = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local started, claims, left = KEYS[5], KEYS[6], KEYS[7]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local function count(name) return tonumber(redis.call('HGET', head, name) or '0') or 0 end
local function stop() return redis.call('HGET', head, 'stop') or '' end
local function owns(block, owner, fence)
  local found = redis.call('XPENDING', blocks, 'hosts', block, block, 1)[1]
  return found and found[2] == owner and found[4] == tonumber(fence)
end
local function answer(word, ...)
  return {word, text(now), stop(), count('total'), count('started'),
          count('finished'), count('troubled'), ...}
end
"""


def _keep(seconds: int) -> str:
    return f"for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, {seconds}) end"


_KEEP: Final = _keep(KEEP_SECONDS)
_KEEP_LOADING: Final = _keep(LOADING_KEEP_SECONDS)

_READY_ONLY: Final = """
if redis.call('HGET', head, 'state') ~= 'ready' then return {'gone'} end
"""

_SERVER: Final = """
local function server()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
end
"""

_NOTE_RESTART: Final = (
    _SERVER
    + """
-- Of a run that is over only restarts before its end count: what ended it has survived
-- the others, and so has all that was announced before. So it is noted by each claim, and
-- just before a run ends.
local function note_restart()
  if stop() == '' and redis.call('HGET', head, 'server') ~= server() then
    redis.call('HSET', head, 'server', server(), 'restarted', text(now))
  end
end
"""
)

_SUSPECT: Final = """
-- What the server lost when it ended is not known. What is in doubt may have been sent
-- since the first claim, or since the run began where not even the claims survive.
local function suspect(claimed, restarted)
  local since, survives = '', redis.call('HGET', head, 'survives')
  if restarted == 0 or survives == 'all' then return since end
  if survives == 'nothing' then since = text(count('ready')) end
  if claimed and claimed < restarted then since = text(claimed) end
  return since
end
"""

_NEEDS_ROOM: Final = """
-- A full Redis refuses the first write of a script only. Without this one a host could
-- claim and start Spaces, and announce none.
redis.call('HSET', head, 'state', 'ready')
"""

BEGIN: Final = (
    _COMMON
    + """
-- ARGV: host, job, milliseconds after which a host that loads is lost
local state = redis.call('HGET', head, 'state')
if state == 'ready' then return answer('there') end
if state and redis.call('HGET', head, 'loader') ~= ARGV[1]
    and now - count('loaded') < tonumber(ARGV[3]) then
  return answer('loading')
end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', head, 'state', 'loading', 'job', ARGV[2], 'loader', ARGV[1],
           'loaded', text(now))
"""
    + _KEEP_LOADING
    + """
return answer('yours')
"""
)

LOAD: Final = (
    _COMMON
    + """
-- ARGV: host, number of the first block, the blocks as JSON
if redis.call('HGET', head, 'state') ~= 'loading'
    or redis.call('HGET', head, 'loader') ~= ARGV[1] then
  return answer('lost')
end
redis.call('HSET', head, 'loaded', text(now))
local at, number = tonumber(ARGV[2]), #ARGV - 2
if count('next') == at then
  for i = 3, #ARGV do
    local block = redis.call('XADD', blocks, '*', 'ids', ARGV[i])
    redis.call('HSET', left, block, #cjson.decode(ARGV[i]))
  end
  redis.call('HINCRBY', head, 'next', number)
elseif count('next') ~= at + number then
  return answer('lost')
end
"""
    + _KEEP_LOADING
    + """
return answer('ok')
"""
)

READY: Final = (
    _COMMON
    + _SERVER
    + """
-- ARGV: host, number of Spaces, what survives a crash of the server, number of blocks
local state = redis.call('HGET', head, 'state')
if state ~= 'ready' then
  if state ~= 'loading' or redis.call('HGET', head, 'loader') ~= ARGV[1] then
    return answer('lost')
  end
  if count('next') ~= tonumber(ARGV[4]) then return answer('lost') end
  redis.call('XGROUP', 'CREATE', blocks, 'hosts', '0', 'MKSTREAM')
  redis.call('HSET', head, 'state', 'ready', 'total', ARGV[2], 'survives', ARGV[3],
             'ready', text(now), 'server', server())
"""
    + _KEEP
    + """
end
return answer('ok')
"""
)

COUNT: Final = (
    _COMMON
    + """
-- ARGV: lease in milliseconds
local fields = {}
if redis.call('HGET', head, 'state') == 'ready' then
  for _, holder in ipairs(redis.call('XPENDING', blocks, 'hosts')[4] or {}) do
    -- One that has left has no beat, and one that is lost has an old one.
    if now - count('beat:' .. holder[1]) <= tonumber(ARGV[1]) then
      fields[#fields + 1] = 'host:' .. holder[1]
      fields[#fields + 1] = holder[2]
    end
  end
end
for _, field in ipairs(redis.call('HGETALL', head)) do fields[#fields + 1] = field end
return answer('ok', unpack(fields))
"""
)

CLAIM: Final = (
    _COMMON
    + _READY_ONLY
    + _NEEDS_ROOM
    + _NOTE_RESTART
    + _SUSPECT
    + """
-- ARGV: host, lease in milliseconds, whether new ones count (1), the blocks it works on
note_restart()
if stop() ~= '' or count('finished') >= count('total') then return answer('over') end
local host, lease, known = ARGV[1], tonumber(ARGV[2]), {}
for i = 4, #ARGV do known[ARGV[i]] = true end
local block, fence
-- One whose claim was not answered.
for _, held in ipairs(redis.call('XPENDING', blocks, 'hosts', '-', '+', 1000, host)) do
  if not known[held[1]] then
    block, fence = held[1], held[4]
    redis.call('XCLAIM', blocks, 'hosts', host, 0, block, 'JUSTID')
    break
  end
end
-- One whose owner is silent. XAUTOCLAIM would take the host's own blocks as well.
local at = '-'
while not block do
  local idle = redis.call('XPENDING', blocks, 'hosts', 'IDLE', lease, at, '+', 100)
  for _, held in ipairs(idle) do
    if not known[held[1]] then
      redis.call('XCLAIM', blocks, 'hosts', host, lease, held[1])
      block, fence = held[1], held[4] + 1
      break
    end
  end
  if #idle < 100 then break end
  at = '(' .. idle[#idle][1]
end
if not block then
  if ARGV[3] ~= '1' then return answer('wait') end
  local new = redis.call('XREADGROUP', 'GROUP', 'hosts', host, 'COUNT', 1,
                         'STREAMS', blocks, '>')
  if not new then return answer('wait') end
  block, fence = new[1][2][1][1], 1
end
local claimed = tonumber(redis.call('HGET', claims, block) or '')
redis.call('HSETNX', claims, block, text(now))
local entry = redis.call('XRANGE', blocks, block, block)[1]
local ids = entry and entry[2][2] or 'null'
local found = answer('block', block, fence, suspect(claimed, count('restarted')), ids)
local known_ids, is_list = pcall(cjson.decode, ids)
if known_ids and type(is_list) == 'table' and #is_list > 0 and #is_list <= 1000 then
  found[#found + 1] = redis.call('HMGET', intents, unpack(is_list))
  found[#found + 1] = redis.call('HMGET', ends, unpack(is_list))
  found[#found + 1] = redis.call('SMISMEMBER', started, unpack(is_list))
end
return found
"""
)

RENEW: Final = (
    _COMMON
    + _READY_ONLY
    + """
-- ARGV: host, then block and fence of each
redis.call('HSET', head, 'beat:' .. ARGV[1], text(now))
local lost = {}
for i = 2, #ARGV, 2 do
  if owns(ARGV[i], ARGV[1], ARGV[i + 1]) then
    redis.call('XCLAIM', blocks, 'hosts', ARGV[1], 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
"""
    + _KEEP
    + """
return answer('ok', unpack(lost))
"""
)

RELEASE: Final = (
    _COMMON
    + _READY_ONLY
    + """
-- ARGV: host, lease in milliseconds
redis.call('HDEL', head, 'beat:' .. ARGV[1])
for _, held in ipairs(redis.call('XPENDING', blocks, 'hosts', '-', '+', 1000, ARGV[1])) do
  redis.call('XCLAIM', blocks, 'hosts', ARGV[1], 0, held[1], 'IDLE', ARGV[2], 'JUSTID')
end
"""
    + _KEEP
    + """
return answer('ok')
"""
)

START: Final = (
    _COMMON
    + _READY_ONLY
    + _NEEDS_ROOM
    + """
-- ARGV: host, block, fence, Space, most that are under way (0: any), the ends of the waves
if not owns(ARGV[2], ARGV[1], ARGV[3]) then return answer('lost') end
if stop() ~= '' then return answer('stopped') end
if redis.call('SISMEMBER', started, ARGV[4]) == 1 then return answer('go') end
local finished, most, limit = count('finished'), tonumber(ARGV[5]), nil
for i = 6, #ARGV do
  if tonumber(ARGV[i]) > finished then limit = tonumber(ARGV[i]) break end
end
if #ARGV >= 6 and now < count('begins') then
  return answer('wait', text(count('begins') - now))
end
if limit and count('started') >= limit then return answer('wait', '0') end
if most > 0 and count('started') - finished >= most then return answer('wait', '0') end
redis.call('SADD', started, ARGV[4])
redis.call('HINCRBY', head, 'started', 1)
return answer('go')
"""
)

INTEND: Final = (
    _COMMON
    + _READY_ONLY
    + """
-- ARGV: host, then block, fence, Space, the state before as JSON of each
local ended, held, words = stop() ~= '', {}, {}
for i = 2, #ARGV, 4 do
  local block, fence, space, word = ARGV[i], ARGV[i + 1], ARGV[i + 2], 'go'
  local claim = block .. ' ' .. fence
  if held[claim] == nil then held[claim] = owns(block, ARGV[1], fence) or false end
  if not held[claim] then
    word = 'lost'
  elseif ended then
    word = 'stopped'
  elseif redis.call('HEXISTS', ends, space) == 1 then
    word = 'lost'
  else
    local since = text(now)
    local earlier = redis.call('HGET', intents, space)
    if earlier then since = string.match(earlier, '^(%d+) ') or since end
    redis.call('HSET', intents, space, since .. ' ' .. text(now) .. ' ' .. ARGV[i + 3])
    if held[claim] ~= 'renewed' then
      redis.call('XCLAIM', blocks, 'hosts', ARGV[1], 0, block, 'JUSTID')
      held[claim] = 'renewed'
    end
  end
  words[#words + 1] = word
end
return answer('ok', unpack(words))
"""
)

SETTLE: Final = (
    _COMMON
    + _READY_ONLY
    + _NOTE_RESTART
    + """
-- ARGV: host, most failures (0: any), reason for too many, pause in milliseconds,
-- number of waves, their ends, then block, fence, Space, trouble, status, record of each
local host, most, why = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local waves, refused = tonumber(ARGV[5]), {}
for i = 6 + waves, #ARGV, 6 do
  local block, space = ARGV[i], ARGV[i + 2]
  local known = redis.call('HGET', ends, space)
  if known then
    if known ~= ARGV[i + 5] then refused[#refused + 1] = space end
  elseif not owns(block, host, ARGV[i + 1]) then
    refused[#refused + 1] = space
  else
    redis.call('HSET', ends, space, ARGV[i + 5])
    redis.call('HINCRBY', head, 'is:' .. ARGV[i + 4], 1)
    local finished = redis.call('HINCRBY', head, 'finished', 1)
    local troubled = redis.call('HINCRBY', head, 'troubled', ARGV[i + 3])
    if redis.call('HINCRBY', left, block, -1) <= 0 then
      redis.call('XACK', blocks, 'hosts', block)
      redis.call('HDEL', left, block)
      redis.call('HDEL', claims, block)
    end
    for wave = 6, 5 + waves do
      if tonumber(ARGV[wave]) == finished then
        redis.call('HSET', head, 'begins', text(now + tonumber(ARGV[4])))
      end
    end
    if most > 0 and troubled >= most and stop() == '' then
      note_restart()
      redis.call('HSET', head, 'stop', why)
    end
  end
end
"""
    + _KEEP
    + """
return answer('ok', unpack(refused))
"""
)

CANCEL: Final = (
    _COMMON
    + _READY_ONLY
    + _NOTE_RESTART
    + """
-- ARGV: why, the host that asks, milliseconds in which another one must not have beaten
local fields, others = redis.call('HGETALL', head), false
for i = 1, #fields, 2 do
  local is_beat = string.sub(fields[i], 1, 5) == 'beat:'
  if is_beat and fields[i] ~= 'beat:' .. ARGV[2]
      and now - (tonumber(fields[i + 1]) or 0) < tonumber(ARGV[3]) then
    others = true
  end
end
if stop() == '' and count('finished') < count('total') and not others then
  note_restart()
  redis.call('HSET', head, 'stop', ARGV[1])
end
return answer('ok')
"""
)

PAGE: Final = (
    _COMMON
    + _READY_ONLY
    + _SERVER
    + _SUSPECT
    + """
-- ARGV: the block after which to go on, how many blocks
local is_known = stop() ~= '' or redis.call('HGET', head, 'server') == server()
local restarted = is_known and count('restarted') or now
local at = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local found = answer('ok')
for _, entry in ipairs(redis.call('XRANGE', blocks, at, '+', 'COUNT', ARGV[2])) do
  local ids = cjson.decode(entry[2][2])
  found[#found + 1] = {entry[1], entry[2][2], redis.call('HMGET', intents, unpack(ids)),
                       redis.call('HMGET', ends, unpack(ids)),
                       suspect(tonumber(redis.call('HGET', claims, entry[1]) or ''), restarted)}
end
return found
"""
)
