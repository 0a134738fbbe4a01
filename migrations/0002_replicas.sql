-- What several replicas need of each other: fair shares between tenants, commands for executions that another replica
-- drives, and the two indexes by which a tenant-wide watch finds what is open and what ended lately.

alter table tenants add column weight int not null default 1;

-- The inbox of the replica that drives an execution. A row lives for seconds: the replica that asked removes it with the answer.
create table execution_commands (
  tenant_id text not null,
  execution_id uuid not null,
  id uuid not null,
  command json not null,
  taken_by uuid,
  answer json,
  create_time timestamptz(3) not null default now(),
  constraint execution_commands_pkey primary key (tenant_id, execution_id, id)
);

create index workflow_executions_open_idx on workflow_executions (tenant_id, id) where end_time is null;
create index workflow_executions_end_idx on workflow_executions (tenant_id, end_time, id) where end_time is not null;
