-- What each step came to is derived from the ledger when somebody asks, instead of being written beside it: the rows cost
-- 285 of 885 bytes of log a step (their record and their index entry), and nothing that serves a call read them.
-- Nothing is lost: the ledger always was the truth, and these rows followed from it.
-- A step that a retry opened again shows its former end until its next attempt begins.
drop table workflow_execution_steps;

create view workflow_execution_steps as
select
  tenant_id, execution_id, path,
  case last_type
    when 'step_started' then 'running'
    when 'step_waiting' then 'waiting'
    when 'step_retry_scheduled' then 'retrying'
    when 'step_succeeded' then 'completed'
    when 'step_failed' then 'failed'
    when 'step_skipped' then 'skipped'
    when 'step_canceled' then 'canceled'
    when 'compensation_succeeded' then 'compensated'
    when 'compensation_failed' then 'compensation_failed'
    else 'compensating'
  end as state,
  attempt,
  case
    when action_type = 'step_succeeded' then case when action_payload ->> 'copiedFrom' is null then 'succeeded' else 'skipped' end
    when action_type = 'step_started' then 'dispatched'
    when action_type = 'step_waiting' then 'none'
    when action_type = 'step_retry_scheduled' then action_payload ->> 'outcome'
    when left_unknown and coalesce(action_payload ->> 'surely', 'false') = 'false' then 'unknown'
    when action_type = 'step_skipped' then 'skipped'
    when action_payload ->> 'copiedFrom' is not null then 'skipped'
    else coalesce(action_payload ->> 'outcome', 'failed')
  end as action_state,
  case undo_type
    when 'compensation_started' then 'dispatched'
    when 'compensation_succeeded' then case when undo_payload ->> 'nothingToUndo' = 'true' then 'nothing_to_undo' else 'succeeded' end
    when 'compensation_failed' then case when undo_payload ->> 'exhausted' = 'true' then 'exhausted' else undo_payload ->> 'outcome' end
    when 'compensation_retry_scheduled' then undo_payload ->> 'outcome'
    else 'none'
  end as compensation_state,
  result_sequence, start_time, end_time
from (
  select
    tenant_id, execution_id, step_path as path,
    (array_agg(type order by sequence desc))[1] as last_type,
    coalesce(max(attempt) filter (where type like 'step%'), 0) as attempt,
    (array_agg(type order by sequence desc) filter (where type like 'step%'))[1] as action_type,
    (array_agg(payload order by sequence desc) filter (where type like 'step%'))[1] as action_payload,
    -- An attempt that was tried again may have had an effect, and so may one that began and has no outcome because its process died.
    coalesce(bool_or(type = 'step_retry_scheduled' and payload ->> 'outcome' = 'unknown'), false)
      or count(*) filter (where type = 'step_started')
         > count(*) filter (where type in ('step_retry_scheduled', 'step_succeeded', 'step_failed', 'step_skipped', 'step_canceled')) as left_unknown,
    (array_agg(type order by sequence desc) filter (where type like 'comp%'))[1] as undo_type,
    (array_agg(payload order by sequence desc) filter (where type like 'comp%'))[1] as undo_payload,
    max(sequence) filter (where type in ('step_succeeded', 'step_failed', 'step_skipped', 'step_canceled')) as result_sequence,
    min(at) as start_time,
    max(at) filter (where type in ('step_succeeded', 'step_failed', 'step_skipped', 'step_canceled', 'compensation_succeeded', 'compensation_failed')) as end_time
  from execution_events
  where step_path <> '' and type in ('step_started', 'step_waiting', 'step_retry_scheduled', 'step_succeeded', 'step_failed', 'step_skipped', 'step_canceled',
    'compensation_started', 'compensation_succeeded', 'compensation_retry_scheduled', 'compensation_failed')
  group by tenant_id, execution_id, step_path
) ended;

-- A replica of the release before still writes its rows: they go nowhere, and it keeps running.
create function ignore_step_rows() returns trigger language plpgsql as 'begin return null; end';
create trigger workflow_execution_steps_ignored instead of insert or update or delete on workflow_execution_steps
  for each row execute function ignore_step_rows();

-- The saga's row changes when its execution ends; without this index, in place and without another entry in any index.
-- What is stuck is found by the execution's own state.
drop index workflow_instances_stuck_idx;
alter table workflow_instances set (fillfactor = 80);
create index workflow_executions_stuck_idx on workflow_executions (tenant_id, id) where state = 'stuck';
