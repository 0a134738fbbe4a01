-- A participant's own tables, beside its barrier. The ledger has one line for each effect and one for each undo.
create table if not exists ledger (id bigserial primary key, saga text not null, step text not null, op text not null, amount bigint not null);
-- What it was asked and what came of it.
create table if not exists calls (id bigserial primary key, saga text not null, step text not null, op text not null, key text not null, outcome text);
-- The test writes here what is to go wrong with the next calls of an operation: "unavailable" (before anything), "refuse" (the change
-- fails), "lost" (the answer, after the commit), "late" (the action waits until its undo was here), "dies before" and "dies after" its commit.
create table if not exists faults (id bigserial primary key, saga_key text not null, step text not null, op text not null, fault text not null);
