-- Concurrency limits of workflows: who of one group runs and who waits for room. A row lives from the start of an execution to
-- its end; it is written before the execution's own row, under a lock of the workflow's row, so that the limit holds over all
-- replicas. max_running is that of the revision the execution runs.
create table workflow_slots (
  tenant_id text not null,
  workflow_id uuid not null,
  group_key text not null,
  execution_id uuid not null,
  running boolean not null,
  released boolean not null,
  max_running int not null,
  cancel_running boolean not null default false,
  create_time timestamptz(3) not null default now(),
  constraint workflow_slots_pkey primary key (tenant_id, workflow_id, group_key, execution_id)
);
