-- A plan does nothing by itself.
if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "Being removed" }
end
return { status = "Healthy", message = "Ready for runs to name it" }
