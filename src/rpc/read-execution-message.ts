/** One execution as a caller sees it: its row, with what changes between two writes of the row read from the ledger. */
import type { Execution } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import type { ExecutionRecord } from "../store/execution-row.ts";
import type { RpcParts } from "./parts.ts";
import { executionToMessage } from "./wire/execution.ts";

/** `allowLarge`: whatever its size. `reference` is an id or `key:<execution_key>`. Throws EXECUTION_NOT_FOUND. */
export async function readExecutionMessage(
  parts: Pick<RpcParts, "executions">,
  caller: Caller,
  reference: string,
  full: boolean,
  allowLarge = false,
): Promise<Execution> {
  const record = await parts.executions.getExecution(caller, reference);
  if (!record) throw executionNotFound(reference);
  const head = record.endedAt === undefined ? await parts.executions.ledgerHead(caller, record.id) : undefined;
  return executionToMessage(head === undefined ? record : { ...record, lastSequence: head.lastSequence }, full ? "full" : "basic", allowLarge);
}

/** The id behind a reference; only a key needs a look-up. */
export async function resolveExecutionId(parts: Pick<RpcParts, "executions">, caller: Caller, reference: string): Promise<string> {
  if (!reference.startsWith("key:")) return reference;
  const record = await parts.executions.getExecution(caller, reference);
  if (!record) throw executionNotFound(reference);
  return record.id;
}

export function executionNotFound(reference: string): AppError {
  return new AppError("EXECUTION_NOT_FOUND", `execution ${reference} does not exist`, { metadata: { executionId: reference } });
}

/** An item of a list with its payloads; as the list has it when it was deleted meanwhile. */
export async function wholeExecution(parts: Pick<RpcParts, "executions">, caller: Caller, item: ExecutionRecord): Promise<Execution> {
  const record = await parts.executions.getExecution(caller, item.id);
  return executionToMessage(record ?? item, record ? "full" : "basic");
}
