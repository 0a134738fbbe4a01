-- What a repeatable call that goes on over many commits has set out to do: a repeat after a crash goes on with the same list.
alter table idempotency_keys add column plan json;
