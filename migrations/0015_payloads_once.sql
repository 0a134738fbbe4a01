-- Input and output stand in the ledger (the first event, and the one that ended the execution); the row no longer repeats them, and
-- an empty list or object is nothing. A row was rewritten with both whenever its execution parked or ended.
alter table workflow_executions alter column standing_effects drop not null, alter column standing_effects drop default;
