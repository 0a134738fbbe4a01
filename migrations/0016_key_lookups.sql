-- A row looked up by its key must be found by its key. Without statistics, every index that leads with the tenant costs the same to the planner, the
-- newest wins, and the journal's prepared plans keep that choice: each change of an execution read all entries of its tenant. An index with a condition
-- serves only statements that state it.
drop index workflow_executions_workflow_idx;
create index workflow_executions_workflow_idx on workflow_executions (tenant_id, workflow_id, id) where workflow_id is not null;
drop index workflow_executions_correlation_idx;
create index workflow_executions_correlation_idx on workflow_executions (tenant_id, correlation_id) where correlation_id <> '';
