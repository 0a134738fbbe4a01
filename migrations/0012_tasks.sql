-- Task queues: operations that wait for a worker, or are being carried out by one. A row stands exactly as long as its
-- attempt is open in the ledger: it is written and removed by the journal's own statement. What the ledger does not know is who
-- has it, and until when: the lease stands here, on the database's clock.
-- sort_time is the row's place in its queue: the moment it came, one minute earlier for each step of priority above 5. So
-- urgent work overtakes, and nothing waits forever.
-- expire_time: while it waits, the end of schedule_to_start; while somebody has it, when it is given up.
create table tasks (
  tenant_id text not null,
  id uuid not null,
  execution_id uuid not null,
  step_path text not null,
  operation text not null,
  generation int not null default 0,
  attempt int not null,
  queue text not null,
  task_type text not null,
  required_labels jsonb not null default '{}',
  sort_time timestamptz(3) not null,
  idempotency_key text not null,
  input json not null,
  action_output json,
  may_not_have_run boolean not null default false,
  correlation_id text not null default '',
  traceparent text not null default '',
  close_ms int not null,
  heartbeat_ms int,
  create_time timestamptz(3) not null,
  worker text,
  session uuid,
  take_time timestamptz(3),
  deadline_time timestamptz(3),
  expire_time timestamptz(3),
  cancel_requested boolean not null default false,
  progress_time timestamptz(3),
  start_before timestamptz(3),
  constraint tasks_pkey primary key (tenant_id, id),
  constraint tasks_operation_check check (operation in ('action', 'compensate', 'confirm'))
);
-- What a worker takes from.
create index tasks_waiting_idx on tasks (tenant_id, queue, sort_time) where worker is null;
-- What is given up.
create index tasks_expire_idx on tasks (expire_time) where expire_time is not null;
create index tasks_execution_idx on tasks (tenant_id, execution_id);

-- Who polls: one row per worker name, written every few seconds while it polls, removed a day after.
create table task_workers (
  tenant_id text not null,
  worker text not null,
  queues text[] not null,
  task_types text[] not null default '{}',
  labels jsonb not null default '{}',
  start_time timestamptz(3) not null default now(),
  seen_time timestamptz(3) not null default now(),
  constraint task_workers_pkey primary key (tenant_id, worker)
);
