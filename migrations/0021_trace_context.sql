-- W3C tracestate and baggage of the start, for the worker that gets the task. Most starts bring neither.
alter table tasks add column tracestate text, add column baggage text;
