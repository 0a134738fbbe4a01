-- Tenants are made and changed by rpc. What a tenant may keep beside the service's own limits: an object of numbers, absent ones as for all
-- (N-1 goes by the service's limits alone).
alter table tenants
  add column quotas json not null default '{}',
  -- Longest time that its ended executions are kept, in milliseconds; null: no bound of its own.
  add column retention_ms_max bigint,
  add column update_time timestamptz(3) not null default now();
