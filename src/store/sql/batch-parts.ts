/** The parts of a batch and their columns, in the order of the arrays that carry them. */

const waitKey = [
  ["tenant_id", "text"],
  ["execution_id", "uuid"],
  ["step_path", "text"],
  ["attempt", "int"],
] as const;

/** `first`: belongs to a start that may turn out to exist already. `projection`: the execution's row as JSON text. */
export const partColumns = {
  starts: [
    ["tenant_id", "text"],
    ["id", "uuid"],
    ["workflow_id", "uuid"],
    ["workflow_name", "text"],
    ["revision", "int"],
    ["execution_key", "text"],
    ["request_id", "text"],
    ["request_hash", "text"],
    ["correlation_id", "text"],
    ["labels", "text"],
    ["priority", "int"],
    ["traceparent", "text"],
    ["create_time", "timestamptz"],
    ["projection", "text"],
    ["released", "boolean"],
  ],
  changes: [
    ["tenant_id", "text"],
    ["id", "uuid"],
    ["projection", "text"],
    ["released", "boolean"],
  ],
  events: [
    ["tenant_id", "text"],
    ["execution_id", "uuid"],
    ["sequence", "int"],
    ["type", "text"],
    ["step_path", "text"],
    ["attempt", "int"],
    ["at", "timestamptz"],
    ["payload", "text"],
    ["first", "boolean"],
  ],
  waits: [...waitKey, ["position", "int"], ["event_type", "text"], ["correlation_key", "text"], ["first", "boolean"]],
  waitEnds: waitKey,
  taken: [
    ["tenant_id", "text"],
    ["id", "uuid"],
  ],
  outbox: [
    ["tenant_id", "text"],
    ["execution_id", "uuid"],
    ["sender_id", "uuid"],
    ["sequence", "int"],
    ["command", "text"],
  ],
  tasks: [
    ["tenant_id", "text"],
    ["id", "uuid"],
    ["execution_id", "uuid"],
    ["step_path", "text"],
    ["operation", "text"],
    ["generation", "int"],
    ["attempt", "int"],
    ["queue", "text"],
    ["task_type", "text"],
    ["required_labels", "text"],
    ["sort_time", "timestamptz"],
    ["idempotency_key", "text"],
    ["input", "text"],
    ["action_output", "text"],
    ["may_not_have_run", "boolean"],
    ["correlation_id", "text"],
    ["traceparent", "text"],
    ["tracestate", "text"],
    ["baggage", "text"],
    ["close_ms", "int"],
    ["heartbeat_ms", "int"],
    ["create_time", "timestamptz"],
    ["expire_time", "timestamptz"],
    ["first", "boolean"],
  ],
  taskEnds: [
    ["tenant_id", "text"],
    ["id", "uuid"],
  ],
} as const;

export type Part = keyof typeof partColumns;
export const parts = Object.keys(partColumns) as readonly Part[];

/** Values in the order of the part's columns; moments as ISO 8601 text. */
export type PartRow = readonly (string | number | boolean | null)[];

export type BatchRows = { readonly [Name in Part]: PartRow[] };
