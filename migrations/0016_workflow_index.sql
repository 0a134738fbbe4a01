-- Without its condition the planner of a young database takes this index for a row looked up by id alone, skipping over every workflow
-- of the tenant, and the journal's prepared plans keep that choice. A saga without a workflow needs no entry here.
drop index workflow_executions_workflow_idx;
create index workflow_executions_workflow_idx on workflow_executions (tenant_id, workflow_id, id) where workflow_id is not null;
