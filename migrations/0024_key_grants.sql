-- Keys are made and rotated by rpc. A rotated key keeps its id; its secret of before goes on beside the new one until
-- previous_expire_time (N-1 knows the newest secret only: while replicas of both releases serve, rotate without an overlap or not at all).
alter table api_keys
  -- The key that made it; empty: the server itself, which would make it again, so such a row is never removed.
  add column creator text not null default '',
  add column rotate_time timestamptz(3),
  add column previous_secret_hash bytea,
  add column previous_expire_time timestamptz(3);
-- Listing and counting those of one tenant.
create index api_keys_tenant_idx on api_keys (tenant_id, id);
