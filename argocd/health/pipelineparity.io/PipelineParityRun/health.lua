-- Passed is Healthy; Failed, Errored and Cancelled are Degraded: whatever waits for the run must not go on. A run that is under way is Progressing,
-- whatever stalls it: it ends by itself at its deadline.
local function health(status, message)
  return { status = status, message = message }
end

local found = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    found[condition.type] = condition
  end
end
local finished = found.Finished
local cleaned = found.CleanedUp
local isFinished = finished ~= nil and finished.status == "True"

if obj.metadata.deletionTimestamp ~= nil then
  if cleaned ~= nil and cleaned.status == "False" and cleaned.reason == "Incomplete" then
    return health("Degraded", "Cannot be removed: " .. cleaned.message)
  end
  if cleaned ~= nil and cleaned.status == "False" and cleaned.reason == "InProgress" then
    return health("Progressing", "Being removed: " .. cleaned.message)
  end
  return health("Progressing", "Being removed, with everything that was made for it")
end

if isFinished then
  if finished.reason ~= "Passed" then
    return health("Degraded", finished.reason .. ": " .. finished.message)
  end
  if cleaned ~= nil and cleaned.status == "False" and (cleaned.reason == "Incomplete" or cleaned.reason == "Retrying") then
    return health("Degraded", "Passed, but not all is cleaned up: " .. cleaned.message)
  end
  return health("Healthy", finished.message)
end

if obj.spec ~= nil and obj.spec.suspend == true then
  return health("Suspended", "Suspended: no task is started")
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return health("Progressing", "Stalled: " .. found.Stalled.message)
end
if finished == nil then
  return health("Progressing", "Waiting for the operator")
end
local phase = ""
if obj.status.phase ~= nil then
  phase = obj.status.phase .. ": "
end
return health("Progressing", phase .. finished.message)
