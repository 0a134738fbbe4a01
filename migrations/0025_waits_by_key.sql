-- Without statistics the planner takes any index that leads with the tenant and whose condition a statement implies. Whoever waits under a key, and what was
-- published under one, is looked for by that key: a condition that only a comparison of the key implies keeps these two out of other look-ups (waits of one
-- execution, twins by dedup id), which read all of the tenant through them. Waits without a key cost no entry any more.
drop index event_waits_event_idx;
create index event_waits_event_idx on event_waits (tenant_id, event_type, correlation_key) where correlation_key is not null;
drop index signals_event_idx;
create index signals_event_idx on signals (tenant_id, event_type, correlation_key, create_time) where execution_id is null and correlation_key is not null;
