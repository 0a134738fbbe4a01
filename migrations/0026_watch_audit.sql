-- Lines are followed in the order in which they are committed: a snapshot tells which transactions were, so a line has to name its own. (The
-- row's xmin may be that of a savepoint.) Of a line that was moved here from a ledger it is the transaction of its event. Null: written by N-1.
alter table audit_log add column xid bigint;
