-- Templates that inherit, and how templates are used.

-- What a template's head or version inherits from, the direct base first: [{"id": uuid, "version": n}]. The head's list adds
-- the bases of its draft. Kept to find descendants; the chain itself is never walked.
alter table workflow_templates add column bases jsonb not null default '[]';
alter table workflow_template_versions add column bases jsonb not null default '[]';
-- The version with its inheritance flattened; null where there is none and `content` says it all.
alter table workflow_template_versions add column resolved json;
create index workflow_templates_bases_idx on workflow_templates using gin (bases);
create index workflow_template_versions_bases_idx on workflow_template_versions using gin (bases);
create index workflow_templates_update_idx on workflow_templates (tenant_id, update_time, id);
create index workflow_templates_category_idx on workflow_templates (tenant_id, category, id);

-- Which revisions came from a template, and which workflows changed lately: what the usage rollup and the descendants read.
create index workflow_revisions_template_idx on workflow_revisions (tenant_id, template_id, template_version, workflow_id, revision) where template_id is not null;
create index workflows_update_idx on workflows (tenant_id, update_time, id);

-- One cell per template version and hour (UTC): executions by the hour in which they were created (started) or ended (all else).
-- durations: {"bucket": count} of completed executions; failed_steps: {"step": count}. Summed up by the rollup, which moves
-- the tenant's cursor in the same transaction, so that a crash neither loses nor counts twice.
create table template_usage (
  tenant_id text not null,
  template_id uuid not null,
  version int not null,
  hour timestamptz(3) not null,
  started bigint not null default 0,
  ended bigint not null default 0,
  completed bigint not null default 0,
  durations jsonb not null default '{}',
  failed_steps jsonb not null default '{}',
  last_start_time timestamptz(3),
  constraint template_usage_pkey primary key (tenant_id, template_id, version, hour)
);

-- The same over all versions and all time, for listings and heads.
create table template_usage_totals (
  tenant_id text not null,
  template_id uuid not null,
  workflows bigint not null default 0,
  started bigint not null default 0,
  ended bigint not null default 0,
  completed bigint not null default 0,
  durations jsonb not null default '{}',
  failed_steps jsonb not null default '{}',
  last_start_time timestamptz(3),
  constraint template_usage_totals_pkey primary key (tenant_id, template_id)
);

-- How far the rollup has read: executions by id (which is by creation), executions by (end_time, id), workflows by change.
create table template_usage_cursors (
  tenant_id text not null,
  started_id uuid not null,
  end_time timestamptz(3) not null,
  end_id uuid not null,
  workflows_time timestamptz(3) not null,
  constraint template_usage_cursors_pkey primary key (tenant_id)
);

-- A reopened execution ends twice: its first end is taken out again. Reopening is rare, so the index is nearly empty.
create index execution_events_reopened_idx on execution_events (tenant_id, execution_id, sequence) where type = 'execution_reopened';
