-- Secrets by envelope encryption: a value is sealed with its tenant's data key, the data key with a master key that stands in
-- the configuration only. Nothing here can be read without it. master_key_id says which one opens a row, so that master keys
-- can be changed while the service runs: rows are wrapped anew one after the other, and both keys open theirs meanwhile.

-- What the whole service derives its other keys from (API key hashes, page tokens): changing the master key leaves them valid.
create table server_keys (
  name text not null,
  master_key_id text not null,
  wrapped bytea not null,
  create_time timestamptz(3) not null default now(),
  constraint server_keys_pkey primary key (name)
);

create table tenant_keys (
  tenant_id text not null,
  number int not null,
  master_key_id text not null,
  wrapped bytea not null,
  create_time timestamptz(3) not null default now(),
  constraint tenant_keys_pkey primary key (tenant_id, number)
);

create table secrets (
  tenant_id text not null,
  id uuid not null,
  name text not null,
  description text not null default '',
  version int not null,
  etag text not null,
  last_use_time timestamptz(3),
  create_time timestamptz(3) not null default now(),
  update_time timestamptz(3) not null default now(),
  constraint secrets_pkey primary key (tenant_id, id)
);
create unique index secrets_name_key on secrets (tenant_id, name);

-- The current value, and while it is being rotated the one before. A value that is no longer valid is deleted, not kept.
create table secret_versions (
  tenant_id text not null,
  secret_id uuid not null,
  version int not null,
  key_number int not null,
  sealed bytea not null,
  create_time timestamptz(3) not null default now(),
  expire_time timestamptz(3),
  constraint secret_versions_pkey primary key (tenant_id, secret_id, version)
);
-- What the upkeep reads.
create index secret_versions_expire_idx on secret_versions (expire_time) where expire_time is not null;
create index tenant_keys_master_idx on tenant_keys (master_key_id);

-- Private targets that this tenant's steps may call beside those that the configuration opens for all: host:port, CIDR:port.
alter table tenants add column egress_allow text[] not null default '{}';
