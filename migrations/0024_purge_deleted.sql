-- Deleted workflows and templates are removed when their time of keeping is over: what the purge reads, of all tenants.
create index workflows_delete_idx on workflows (delete_time, tenant_id, id) where delete_time is not null;
create index workflow_templates_delete_idx on workflow_templates (delete_time, tenant_id, id) where delete_time is not null;
