-- Answers of mutations by the request id their caller chose, so that a repeated call gets the first answer. A row without a
-- response is a call under way; its holder renews claim_time, and a row that is not renewed belongs to a process that died.
create table idempotency_keys (
  tenant_id text not null,
  method text not null,
  request_id text not null,
  fingerprint bytea not null,
  holder uuid not null,
  claim_time timestamptz(3) not null default now(),
  response bytea,
  create_time timestamptz(3) not null default now(),
  constraint idempotency_keys_pkey primary key (tenant_id, method, request_id)
);
-- What the purge reads.
create index idempotency_keys_create_idx on idempotency_keys (create_time);
