-- Wireshark dissector of the header between devices and units: HELLO, TASK, ARRIVED, RESULT, ERROR,
-- UNSERVED. The layout is that of model/wire_format.py, which tests/analysis/test_dissector.py
-- holds this file against. How to load it: ./lab pcap --dissector
--
-- Captures keep the first bytes of each packet only, so nothing is reassembled. A TASK's header is
-- at the beginning of a TCP segment by design; what follows it, and segments without a header, is
-- the task's data. A header that is cut by the end of a segment is not shown.

local celt = Proto("celt", "Crowd-edge-lab task header")

local TYPES = {
  [1] = "HELLO",
  [2] = "TASK",
  [3] = "ARRIVED",
  [4] = "RESULT",
  [5] = "ERROR",
  [6] = "UNSERVED",
}

local f = celt.fields
f.magic = ProtoField.string("celt.magic", "Magic")
f.version = ProtoField.uint8("celt.version", "Version")
f.type = ProtoField.uint8("celt.type", "Type", base.DEC, TYPES)
f.device = ProtoField.uint16("celt.device", "Device", base.DEC, nil, nil,
  "Position among the scenario's devices, from 0")
f.task = ProtoField.uint32("celt.task", "Task", base.DEC, nil, nil, "Position in the run's trace")
f.attempt = ProtoField.uint32("celt.attempt", "Attempt", base.DEC, nil, nil,
  "Which try of the transfer, from 1")
f.payload_bytes = ProtoField.uint64("celt.payload_bytes", "Payload bytes")
f.value = ProtoField.double("celt.value", "Value")
f.work = ProtoField.double("celt.work_ghz_s", "Work, GHz s")
f.arrived = ProtoField.double("celt.arrived_s", "Arrived, scenario s")
f.processing = ProtoField.double("celt.processing_s", "Processing delay, scenario s")

-- Field, offset, size; all are big-endian.
local LAYOUT = {
  { "magic", 0, 4 },
  { "version", 4, 1 },
  { "type", 5, 1 },
  { "device", 6, 2 },
  { "task", 8, 4 },
  { "attempt", 12, 4 },
  { "payload_bytes", 16, 8 },
  { "value", 24, 8 },
}
local HEADER_BYTES = 32
local MAGIC = "CELT"
local PORT = 5000

-- What `value` is, by type.
local MEANING = { TASK = f.work, ARRIVED = f.arrived, RESULT = f.processing, UNSERVED = f.processing }

local function is_header(buffer, at)
  return buffer:len() >= at + HEADER_BYTES and buffer(at, 4):string() == MAGIC
end

local function dissect_header(buffer, at, tree)
  local name = TYPES[buffer(at + 5, 1):uint()] or "unknown type"
  local task, device = buffer(at + 8, 4):uint(), buffer(at + 6, 2):uint()
  local words = name
  if name ~= "HELLO" and name ~= "ERROR" then
    words = string.format("%s %d of device %d", name, task, device)
  elseif name == "HELLO" then
    words = string.format("HELLO of device %d", device)
  end
  local below = tree:add(celt, buffer(at, HEADER_BYTES), "Task header: " .. words)
  for _, entry in ipairs(LAYOUT) do
    below:add(f[entry[1]], buffer(at + entry[2], entry[3]))
  end
  if MEANING[name] then
    below:add(MEANING[name], buffer(at + 24, 8)):set_generated()
  end
  return words
end

function celt.dissector(buffer, pinfo, tree)
  if not is_header(buffer, 0) then
    return 0
  end
  local at, shown = 0, {}
  while is_header(buffer, at) do
    shown[#shown + 1] = dissect_header(buffer, at, tree)
    at = at + HEADER_BYTES + buffer(at + 16, 8):uint64():tonumber()
  end
  pinfo.cols.protocol = "CELT"
  pinfo.cols.info = table.concat(shown, ", ")
  return buffer:len()
end

DissectorTable.get("tcp.port"):add(PORT, celt)
