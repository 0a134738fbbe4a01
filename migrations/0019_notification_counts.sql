-- How many notifications a tenant and each of its recipients got in the running hour. key: a digest of the recipient, or empty for the
-- tenant itself. Unlogged: a message waits for no disk because of its count, and a crash of PostgreSQL forgets one hour at most.
create unlogged table notification_counts (
  tenant_id text not null,
  key bytea not null,
  count int not null,
  end_time timestamptz(3) not null,
  constraint notification_counts_pkey primary key (tenant_id, key)
);
