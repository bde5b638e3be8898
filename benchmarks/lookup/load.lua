-- Requests for users drawn at random, and the figures of the run as one line of JSON.
-- Arguments: users, share of unknown users, mean milliseconds between a connection's requests (0: at once), check, key, k (0: all).
local users, unknown, pause, check, query

function init(args)
  users, unknown, pause, check = tonumber(args[1]), tonumber(args[2]), tonumber(args[3]), args[4] == "check"
  wrk.headers["x-api-key"] = args[5]
  query = args[6] == "0" and "" or "?k=" .. args[6]
  math.randomseed(os.time())
  if pause == 0 then delay = nil end
  if not check then response = nil end
end

function request()
  local prefix = math.random() < unknown and "x" or "u"
  return wrk.format("GET", "/v1/users/" .. prefix .. math.random(0, users - 1) .. "/recommendations" .. query)
end

function delay()
  return math.random(0, 2 * pause)
end

-- Every title names the run that it is of, and so does the answer: they must be one.
function response(status, headers, body)
  local run = body:match('"run_id":"(%w+)"')
  for title in body:gmatch(" of (%w+)\"") do
    if title ~= run then
      mixed = (mixed or 0) + 1
      wrk.thread:set("mixed", mixed)
      return
    end
  end
end

local threads = {}
function setup(thread) table.insert(threads, thread) end

function done(summary, latency, requests)
  local mixed = 0
  for _, thread in ipairs(threads) do mixed = mixed + (thread:get("mixed") or 0) end
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f, "p99.9": %f, "max": %f, "mixed": %d}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3, mixed))
end
