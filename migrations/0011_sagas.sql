-- Standalone sagas: the addresses of their participants, for lists and for moving a participant, and when their starter is
-- to be asked whether it has committed, or to hear of their end. Both are written with the saga's row, which follows from the ledger.
-- Null where there are none: most executions have none, and an empty array would cost 20 bytes of log twice.
alter table workflow_instances add column participants text[];
alter table workflow_instances add column notice_at timestamptz(3);
alter table workflow_instances add column notice_attempts int not null default 0;
-- Names no column that changes at the end, so that the row is then changed in place.
create index workflow_instances_participants_idx on workflow_instances (tenant_id, id) where participants is not null;
create index workflow_instances_notice_idx on workflow_instances (notice_at) where notice_at is not null;
