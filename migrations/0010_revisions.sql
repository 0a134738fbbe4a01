-- Revisions of workflows: which one was active before (rollback), who made each, and what a paused workflow does with starts.
alter table workflows add column previous_revision int not null default 0;
alter table workflows add column paused_starts text not null default 'queue';
alter table workflows add column pause_reason text not null default '';
alter table workflow_revisions add column creator text not null default '';

-- A command for all open executions of a workflow (pause, resume, cancel), carried out in batches by whichever replica holds
-- the row. It is written with the change of the workflow that asks for it, so a crash in between leaves it to the next
-- replica; after_id says how far it has come. Sweeps of one workflow go one after the other, by their ids.
create table workflow_sweeps (
  tenant_id text not null,
  workflow_id uuid not null,
  id uuid not null,
  command text not null,
  actor text not null,
  reason text not null default '',
  after_id uuid,
  done_count int not null default 0,
  passes int not null default 0,
  due_at timestamptz not null default now(),
  constraint workflow_sweeps_pkey primary key (tenant_id, workflow_id, id)
);
create index workflow_sweeps_due_idx on workflow_sweeps (due_at);
