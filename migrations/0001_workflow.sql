-- The whole first schema. One rule shapes it: every tenant table leads its primary key with tenant_id and no constraint
-- crosses tenants, so that the same schema can be distributed by tenant. States are text with a closed list.
-- Payload columns are json, not jsonb: what is sent again after a crash must be the same bytes under the same
-- idempotency key, and jsonb reorders the members of objects.

create table tenants (
  id text not null,
  display_name text not null default '',
  suspended boolean not null default false,
  create_time timestamptz(3) not null default now(),
  constraint tenants_pkey primary key (id)
);

-- Looked up before the tenant is known, hence the key alone. secret_hash is HMAC-SHA256 of the secret with the server's pepper.
create table api_keys (
  id uuid not null,
  tenant_id text not null,
  name text not null,
  secret_hash bytea not null,
  scopes text[] not null,
  create_time timestamptz(3) not null default now(),
  expire_time timestamptz(3),
  revoke_time timestamptz(3),
  constraint api_keys_pkey primary key (id)
);

-- One row per server process: its lease and the fence (epoch) of everything it writes.
create table replicas (
  id uuid not null,
  epoch bigint not null default 1,
  presence_key bigint not null,
  address text not null default '',
  start_time timestamptz(3) not null default now(),
  expire_time timestamptz not null,
  constraint replicas_pkey primary key (id)
);

create table workflow_templates (
  tenant_id text not null,
  id uuid not null,
  name text not null,
  display_name text not null default '',
  description text not null default '',
  category text not null,
  tags text[] not null default '{}',
  state text not null,
  built_in boolean not null default false,
  latest_version int not null default 0,
  draft json,
  labels jsonb not null default '{}',
  etag text not null,
  create_time timestamptz(3) not null default now(),
  update_time timestamptz(3) not null default now(),
  delete_time timestamptz(3),
  constraint workflow_templates_pkey primary key (tenant_id, id),
  constraint workflow_templates_state_check check (state in ('draft', 'published', 'deprecated', 'deleted'))
);
create unique index workflow_templates_name_key on workflow_templates (tenant_id, name) where delete_time is null;

create table workflow_template_versions (
  tenant_id text not null,
  template_id uuid not null,
  version int not null,
  content json not null,
  digest text not null,
  change_note text not null default '',
  publisher text not null default '',
  publish_time timestamptz(3) not null default now(),
  constraint workflow_template_versions_pkey primary key (tenant_id, template_id, version)
);

create table workflows (
  tenant_id text not null,
  id uuid not null,
  name text not null,
  display_name text not null default '',
  description text not null default '',
  state text not null,
  active_revision int not null default 0,
  latest_revision int not null default 0,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  etag text not null,
  create_time timestamptz(3) not null default now(),
  update_time timestamptz(3) not null default now(),
  delete_time timestamptz(3),
  constraint workflows_pkey primary key (tenant_id, id),
  constraint workflows_state_check check (state in ('draft', 'active', 'paused', 'deleted'))
);
create unique index workflows_name_key on workflows (tenant_id, name) where delete_time is null;

-- Immutable. Lineage: which template version, parameters and overrides the definition was rendered from.
create table workflow_revisions (
  tenant_id text not null,
  workflow_id uuid not null,
  revision int not null,
  definition json not null,
  digest text not null,
  change_note text not null default '',
  template_id uuid,
  template_version int,
  parameters json,
  overrides json,
  secret_bindings jsonb not null default '{}',
  create_time timestamptz(3) not null default now(),
  constraint workflow_revisions_pkey primary key (tenant_id, workflow_id, revision)
);

-- One row per run, written when its state changes and not per step. workflow_id is null for standalone sagas.
-- request_id makes a start idempotent in the same insert; request_hash tells a repeat from a reuse.
create table workflow_executions (
  tenant_id text not null,
  id uuid not null,
  workflow_id uuid,
  workflow_name text not null,
  revision int not null,
  state text not null,
  end_reason text,
  input json,
  output json,
  failure json,
  failed_step text,
  standing_effects text[] not null default '{}',
  variables json,
  execution_key text,
  request_id text,
  request_hash bytea,
  correlation_id text not null,
  labels jsonb not null default '{}',
  priority smallint not null default 5,
  paused boolean not null default false,
  parent_execution_id uuid,
  rerun_of uuid,
  traceparent text,
  last_sequence int not null,
  owner uuid,
  wake_at timestamptz(3),
  create_time timestamptz(3) not null,
  start_time timestamptz(3),
  end_time timestamptz(3),
  constraint workflow_executions_pkey primary key (tenant_id, id),
  constraint workflow_executions_state_check check (state in ('pending', 'running', 'waiting', 'paused', 'compensating', 'stuck', 'completed', 'compensated', 'failed', 'canceled', 'timed_out', 'terminated'))
);
create unique index workflow_executions_request_key on workflow_executions (tenant_id, request_id) where request_id is not null;
create unique index workflow_executions_open_key on workflow_executions (tenant_id, execution_key) where execution_key is not null and end_time is null;
-- `key:<execution_key>` means the newest run with that key, ended ones too.
create index workflow_executions_key_idx on workflow_executions (tenant_id, execution_key, id) where execution_key is not null;
-- What a claim reads: executions nobody drives, by the moment they are due.
create index workflow_executions_due_idx on workflow_executions (tenant_id, wake_at) where owner is null and wake_at is not null;
-- What a takeover reads.
create index workflow_executions_owner_idx on workflow_executions (owner) where owner is not null;
create index workflow_executions_correlation_idx on workflow_executions (tenant_id, correlation_id);
create index workflow_executions_workflow_idx on workflow_executions (tenant_id, workflow_id, id);

-- The saga view of each execution; its id is the execution's id.
create table workflow_instances (
  tenant_id text not null,
  id uuid not null,
  state text not null,
  end_reason text,
  paused boolean not null default false,
  open_steps int not null default 0,
  expire_time timestamptz(3),
  create_time timestamptz(3) not null,
  update_time timestamptz(3) not null,
  end_time timestamptz(3),
  constraint workflow_instances_pkey primary key (tenant_id, id),
  constraint workflow_instances_state_check check (state in ('initializing', 'running', 'completing', 'completed', 'compensating', 'compensated', 'stuck', 'failed'))
);
create index workflow_instances_stuck_idx on workflow_instances (tenant_id, id) where state = 'stuck';

-- The ledger. The key is the second guard against two writers: it admits one event per number.
create table execution_events (
  tenant_id text not null,
  execution_id uuid not null,
  sequence int not null,
  type text not null,
  step_path text not null,
  attempt int not null,
  at timestamptz(3) not null,
  payload json not null,
  constraint execution_events_pkey primary key (tenant_id, execution_id, sequence)
);

-- Projection, one row per step (and loop item), written when the step ends or its undo changes. The payload stays in the
-- ledger: result_sequence says where.
create table workflow_execution_steps (
  tenant_id text not null,
  execution_id uuid not null,
  path text not null,
  state text not null,
  attempt int not null,
  action_state text not null,
  compensation_state text not null,
  result_sequence int not null,
  start_time timestamptz(3),
  end_time timestamptz(3),
  constraint workflow_execution_steps_pkey primary key (tenant_id, execution_id, path)
);
