-- What executions hear from outside and from each other: events that were sent to one execution or published under a key, the
-- registrations of the waits they end, and commands from one execution to another.

-- execution_id is set for a signal to one execution, correlation_key for a published event. A row outlives expire_time, the end
-- of its time to live, until purge_time, so that its dedup_id is known for a day at least. `delivered` makes it its own outbox:
-- until it is set, whoever finds the row tells the waits that were registered when it came.
create table signals (
  tenant_id text not null,
  id uuid not null,
  execution_id uuid,
  event_type text not null,
  correlation_key text,
  data json not null,
  dedup_id text,
  matched int not null default 0,
  delivered boolean not null default false,
  attempted_by uuid not null,
  attempt_time timestamptz(3) not null default now(),
  taken boolean not null default false,
  create_time timestamptz(3) not null default now(),
  expire_time timestamptz(3) not null,
  purge_time timestamptz(3) not null,
  constraint signals_pkey primary key (tenant_id, id)
);
create unique index signals_execution_dedup_key on signals (tenant_id, execution_id, dedup_id) where execution_id is not null and dedup_id is not null;
create unique index signals_dedup_key on signals (tenant_id, dedup_id) where execution_id is null and dedup_id is not null;
-- What a wait reads.
create index signals_execution_idx on signals (tenant_id, execution_id, create_time) where execution_id is not null and not taken;
create index signals_event_idx on signals (tenant_id, event_type, correlation_key, create_time) where execution_id is null;
-- What a sweep and the purge read.
create index signals_undelivered_idx on signals (attempt_time) where not delivered;
create index signals_purge_idx on signals (tenant_id, purge_time);

-- One row for each event that an open wait can end with; without a key only a signal to that execution ends it.
create table event_waits (
  tenant_id text not null,
  execution_id uuid not null,
  step_path text not null,
  attempt int not null,
  position int not null,
  event_type text not null,
  correlation_key text,
  constraint event_waits_pkey primary key (tenant_id, execution_id, step_path, attempt, position)
);
create index event_waits_event_idx on event_waits (tenant_id, event_type, correlation_key);

-- Commands of one execution (sender) for another one, durable with the event that causes them, removed when carried out.
create table execution_outbox (
  tenant_id text not null,
  execution_id uuid not null,
  sender_id uuid not null,
  sequence int not null,
  command json not null,
  attempted_by uuid not null,
  attempt_time timestamptz(3) not null default now(),
  constraint execution_outbox_pkey primary key (tenant_id, execution_id, sender_id, sequence)
);
create index execution_outbox_attempt_idx on execution_outbox (attempt_time);

-- The execution at the top of a tree of children: nothing below it is deleted while it is open.
alter table workflow_executions add column root_execution_id uuid;
create index workflow_executions_parent_idx on workflow_executions (tenant_id, parent_execution_id, id) where parent_execution_id is not null;
