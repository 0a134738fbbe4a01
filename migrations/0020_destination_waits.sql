-- Executions that left memory while something of theirs waits for another try at a participant that was away. A hint, not truth: the
-- time of the try stands in the ledger. Who hears of that participant's first success takes its rows and brings the tries forward.
-- destination: key of the circuit breaker. until_time: when the try is due anyway; the row is worth nothing then.
create table destination_waits (
  tenant_id text not null,
  destination text not null,
  execution_id uuid not null,
  until_time timestamptz(3) not null,
  constraint destination_waits_pkey primary key (tenant_id, destination, execution_id)
);
-- What is cleared away.
create index destination_waits_until_idx on destination_waits (until_time);
