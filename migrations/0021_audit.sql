-- Who changed what. A line is written in the transaction of the change; what executions are told stands in their ledgers and is
-- moved here when those are deleted. Lines are added, never changed, and removed only when they are old.
create table audit_log (
  tenant_id text not null,
  -- A uuid, or an execution's uuid and the number of an event: `…/0000000007`.
  id text not null,
  time timestamptz(3) not null default now(),
  actor text not null,
  method text not null,
  target text not null default '',
  execution_id uuid,
  step_path text not null default '',
  reason text not null default '',
  correlation_id text not null default '',
  -- The request, secrets left out, of what operators decide.
  detail json,
  constraint audit_log_pkey primary key (tenant_id, id)
);
create index audit_log_time_idx on audit_log (tenant_id, time);

create function audit_log_is_append_only() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and old.time < now() - interval '90 days' then return old; end if;
  raise exception 'lines of audit_log are never changed, and removed only when they are older than 90 days';
end $$;
create trigger audit_log_append_only before update or delete on audit_log for each row execute function audit_log_is_append_only();

-- Events that a command may begin with: few of all, so the index costs nothing where no operator acts.
create index execution_events_audit_idx on execution_events (tenant_id, at) where type in ('operator_acted', 'execution_paused', 'execution_resumed',
  'execution_cancel_requested', 'execution_reopened', 'saga_state_changed', 'step_enlisted', 'step_skipped');
