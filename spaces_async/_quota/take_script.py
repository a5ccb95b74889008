"""The script that Redis runs for each exchange of a host with the pool of a token.

It does what has to be done in one step: it counts what a host reports, and hands out
calls. How many a host asks for, what it makes of the answer, and when it looks again is
decided in `blocks`. Time is the server's, in milliseconds. The script runs on Redis 6.2
and later, and on Valkey.

The pool is a hash:

| field | what it holds |
| --- | --- |
| window | the number of the window: when it was opened |
| at | when the script ran last; if that is in the future, the clock was set back |
| ends | when the window ends |
| limit | calls per window |
| left | the least that any response of this window said is left |
| rest | calls not taken yet |
| claims | calls that hosts hold or have in flight |
| careful | 1: claims are subtracted from `left`, too |
| others | 1: a program was noticed in this window that does not use the pool |
| probed | when the last probe was handed out |
| prober | to whom |
| granted | when a call was handed out last |
| hosts | how many have asked in this window |
| before | how many had asked in the window before |
| hold:KIND | until when a kind of calls is held back |

Each host has a key besides, which says what it got last and what it claims. Both keys
expire by themselves.
"""

from __future__ import annotations

from typing import Final

TAKE: Final = r"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local pool_key, host_key = KEYS[1], KEYS[2]
local arg = {}
for i = 1, 13 do arg[i] = tonumber(ARGV[i]) end
local number, window, in_flight, unspent, returned = arg[1], arg[2], arg[3], arg[4], arg[5]
local calls, bulk, reserve, left, ends_in = arg[6], arg[7], arg[8], arg[9], arg[10]
local limit, used_up_in, rejoins = arg[11], arg[12], arg[13] == 1

-- Read the pool. Anything but a number makes it start from scratch.
local pool, holds, prober, damaged = {}, {}, '', false
local fields = redis.call('HGETALL', pool_key)
for i = 1, #fields, 2 do
  local name, value = fields[i], fields[i + 1]
  if name == 'prober' then
    prober = value
  else
    local parsed = tonumber(value)
    if not (parsed and parsed >= 0 and parsed < 1e15 and parsed % 1 == 0) then
      damaged = true
    elseif string.sub(name, 1, 5) == 'hold:' then
      if parsed > now then holds[string.sub(name, 6)] = parsed end
    else
      pool[name] = parsed
    end
  end
end
if #fields > 0 then
  for _, name in ipairs({'window', 'at', 'claims', 'careful', 'others', 'probed', 'granted',
                          'hosts', 'before'}) do
    if not pool[name] then damaged = true end
  end
  local known = (pool.left and 1 or 0) + (pool.rest and 1 or 0) + (pool.ends and 1 or 0)
  if known ~= 0 and known ~= 3 then damaged = true end
end
if damaged then pool, holds, prober = {}, {}, '' end
-- A clock that was set back would make a window last for hours.
if pool.at and pool.at > now + 1000 then pool, holds, prober = {}, {}, '' end

-- Open the next window.
if not pool.window or (pool.ends and now >= pool.ends) then
  pool = {window = math.max(now, (pool.window or 0) + 1), claims = 0, others = 0,
          careful = pool.others or 0, limit = pool.limit, probed = 0, granted = 0,
          hosts = 0, before = pool.hosts or 0}
  prober = ''
end
pool.at = now

local last = redis.call('GET', host_key)
local last_number, last_window, last_granted, claimed = -1, -1, 0, 0
if last then
  local a, b, c, d = string.match(last, '^(%d+) (%d+) (%d+) (%d+)$')
  if a then
    last_number, last_window = tonumber(a), tonumber(b)
    last_granted, claimed = tonumber(c), tonumber(d)
  end
end
local granted, own_claim = 0, claimed
if last_number == number then
  -- The answer was lost; what was granted then is granted once.
  if last_window == pool.window then granted = last_granted end
else
  if rejoins then
    -- It has sent requests that were not counted here, and others may have, too. The
    -- window starts from scratch: when all are back, a probe finds out what is left.
    if pool.rest then
      pool = {window = math.max(now, pool.window + 1), at = now, claims = 0,
              others = pool.others, limit = pool.limit, probed = now + 500,
              granted = pool.granted, hosts = 0, before = math.max(pool.hosts, pool.before)}
      prober = 'none'
    end
    pool.careful = 1
  end
  local is_here = window == pool.window
  if not is_here then unspent, returned = 0, 0 end
  local claim = in_flight + unspent
  if last_window ~= pool.window then
    claimed = 0
    pool.hosts = pool.hosts + 1
    -- The Hub may count in this window what was sent before it.
    if pool.rest and not is_here then pool.rest = math.max(0, pool.rest - in_flight) end
  end
  pool.claims = math.max(0, pool.claims + claim - claimed)
  if pool.rest then pool.rest = pool.rest + returned end
  if limit >= 0 then pool.limit = limit end

  if is_here and left >= 0 and ends_in >= 0 then
    local ends = now + ends_in
    if not pool.rest then
      pool.left, pool.ends = left, ends
      pool.rest = math.max(0, left - pool.claims)
    else
      if left < pool.rest then
        pool.rest, pool.others, pool.careful = left, 1, 1
      end
      pool.left, pool.ends = math.min(pool.left, left), math.min(pool.ends, ends)
    end
  end
  if used_up_in > 0 then
    pool.left, pool.rest, pool.ends = 0, 0, now + used_up_in
    pool.others, pool.careful = 1, 1
  end

  if calls + bulk > 0 then
    if not pool.rest then
      local is_over = prober == host_key and claim == 0
      if prober == '' or is_over or now - pool.probed >= 1000 then
        granted, prober, pool.probed = 1, host_key, now
      end
    else
      local free = pool.rest
      if pool.careful == 1 then free = math.min(free, pool.left - pool.claims) end
      local kept = math.ceil((pool.limit or 0) * reserve / 1000)
      granted = math.max(0, math.min(calls, free))
      granted = granted + math.max(0, math.min(bulk, free - granted - kept))
      pool.rest = pool.rest - granted
    end
  end
  if granted > 0 then pool.granted = now end
  pool.claims = pool.claims + granted

  local count = 0
  for _ in pairs(holds) do count = count + 1 end
  for i = 14, #ARGV - 1, 2 do
    local kind, until_then = ARGV[i], now + tonumber(ARGV[i + 1])
    if until_then > now and (holds[kind] or count < 32) then
      if not holds[kind] then count = count + 1 end
      holds[kind] = math.max(holds[kind] or 0, until_then)
    end
  end

  local stays = math.max(600000, (pool.ends or now) - now + 60000)
  for _, until_then in pairs(holds) do stays = math.max(stays, until_then - now + 60000) end
  local values = {}
  for name, value in pairs(pool) do
    values[#values + 1] = name
    values[#values + 1] = string.format('%.0f', value)
  end
  for kind, until_then in pairs(holds) do
    values[#values + 1] = 'hold:' .. kind
    values[#values + 1] = string.format('%.0f', until_then)
  end
  values[#values + 1] = 'prober'
  values[#values + 1] = prober
  redis.call('DEL', pool_key)
  redis.call('HSET', pool_key, unpack(values))
  redis.call('PEXPIRE', pool_key, stays)
  own_claim = claim + granted
  local record = string.format('%.0f %.0f %.0f %.0f', number, pool.window, granted, own_claim)
  redis.call('SET', host_key, record, 'PX', string.format('%.0f', stays))
end

local answer = {pool.window, granted, pool.rest or -1,
                pool.ends and math.max(0, pool.ends - now) or -1, pool.limit or -1,
                now - pool.granted, pool.careful, damaged and 1 or 0,
                math.max(pool.hosts, pool.before), math.max(0, pool.claims - own_claim)}
for kind, until_then in pairs(holds) do
  answer[#answer + 1] = kind
  answer[#answer + 1] = until_then - now
end
return answer
"""
