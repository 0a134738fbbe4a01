-- A row looked up by its key must be found by its key. Without statistics, every index that leads with the tenant costs the same to the planner, the
-- newest wins, and the journal's prepared plans keep that choice: each change of an execution read all entries of its tenant. An index with a condition
-- serves only statements that imply it; "is not null" is implied by any comparison of that column.
drop index workflow_executions_workflow_idx;
create index workflow_executions_workflow_idx on workflow_executions (tenant_id, workflow_id, id) where workflow_id is not null;
drop index workflow_executions_correlation_idx;
create index workflow_executions_correlation_idx on workflow_executions (tenant_id, correlation_id) where correlation_id is not null;
drop index tasks_execution_idx;
create index tasks_execution_idx on tasks (tenant_id, execution_id) where execution_id is not null;
drop index signals_purge_idx;
create index signals_purge_idx on signals (tenant_id, purge_time) where purge_time is not null;
drop index event_waits_event_idx;
create index event_waits_event_idx on event_waits (tenant_id, event_type, correlation_key) where event_type is not null;
