-- wrk -s requests.lua URL -- FILE
-- FILE: header lines, an empty line, and request targets, one a line; asked in a shuffled order.
-- What wrk saw goes to stdout as one line of JSON, after wrk's own report.

local asked = {}
local next_one = 0

function init(arguments)
   local targets, in_headers = {}, true
   for line in io.lines(arguments[1]) do
      local name, value = line:match("^([^:]+): (.*)$")
      if line == "" then
         in_headers = false
      elseif in_headers then
         wrk.headers[name] = value
      else
         targets[#targets + 1] = line
      end
   end
   math.randomseed(1)
   for last = #targets, 2, -1 do
      local other = math.random(last)
      targets[last], targets[other] = targets[other], targets[last]
   end
   for n, target in ipairs(targets) do
      asked[n] = wrk.format("GET", target)
   end
end

function request()
   next_one = next_one % #asked + 1
   return asked[next_one]
end

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      '{"requests":%d,"errors":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"p999_ms":%.4f}\n',
      summary.requests, failed, summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3
   ))
end
