-- The barrier of saga participants: which operations of which steps took place in this database. It belongs to the participant,
-- stands beside its business tables and is written in the same transactions. The helpers of all languages run these statements.

-- name: create
create table if not exists pawf_barrier (
  tenant text not null,
  saga text not null,
  step text not null,
  op text not null,
  generation int not null,
  -- SHA-256 of the input: the same operation with another input is a mistake, not a repeat.
  fingerprint text not null,
  -- The operation that wrote the row: an action's row written by "compensate" is the mark that keeps a late action out.
  written_by text not null,
  -- JSON text of the first result, given back byte by byte to every repeat.
  result text,
  created_at timestamptz not null default now(),
  primary key (tenant, saga, step, op, generation)
);

-- name: index
create index if not exists pawf_barrier_created_idx on pawf_barrier (created_at);

-- name: claim
insert into pawf_barrier (tenant, saga, step, op, generation, fingerprint, written_by) values ($1, $2, $3, $4, $5, $6, $7)
on conflict do nothing;

-- name: read
select fingerprint, written_by, result from pawf_barrier where tenant = $1 and saga = $2 and step = $3 and op = $4 and generation = $5;

-- name: store
update pawf_barrier set result = $6 where tenant = $1 and saga = $2 and step = $3 and op = $4 and generation = $5;

-- name: purge
delete from pawf_barrier where created_at < now() - $1::bigint * interval '1 second';
