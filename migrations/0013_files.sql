-- Files: uploaded by callers or made by steps, kept until their time is over. The bytes stand in chunks as they were appended, so
-- that an upload resumes and a download reads a range; they are not compressed, since most formats already are. With S3-compatible
-- storage the chunks only stage the upload: `storage` says where a finished file's bytes are.
create table files (
  tenant_id text not null,
  id uuid not null,
  name text not null,
  media_type text not null,
  state text not null,
  storage text not null default 'database',
  size_bytes bigint not null,
  sha256 text,
  create_time timestamptz(3) not null default now(),
  complete_time timestamptz(3),
  expire_time timestamptz(3) not null,
  constraint files_pkey primary key (tenant_id, id),
  constraint files_state_check check (state in ('uploading', 'ready', 'deleted')),
  constraint files_storage_check check (storage in ('database', 's3'))
);
-- What the purge reads: files whose time is over, and deleted ones, whose expire_time is the moment of deletion.
create index files_expire_idx on files (expire_time);

create table file_chunks (
  tenant_id text not null,
  file_id uuid not null,
  offset_bytes bigint not null,
  data bytea not null,
  constraint file_chunks_pkey primary key (tenant_id, file_id, offset_bytes)
);
alter table file_chunks alter column data set storage external;
