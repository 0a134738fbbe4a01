/** Hands a command to an execution, or shows what it would do (`validate_only`). */
import type { Execution } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { type ControlCommand, previewCommand } from "../domain/control-command.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import { applyEvent } from "../domain/execution.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { readExecution } from "../engine/read-execution.ts";
import type { RpcParts } from "./parts.ts";
import { executionNotFound, readExecutionMessage, resolveExecutionId } from "./read-execution-message.ts";
import { executionFromState } from "./wire/execution.ts";

export interface Applied {
  /** What the command's rule answered; undefined for previews and commands without one. */
  readonly answer?: JsonObject | undefined;
  readonly executionId: string;
  readonly execution: Execution;
  /** As it would be; absent when the command was carried out. */
  readonly preview?: Loaded;
}

/** An execution as its ledger tells it, with the revision it runs. */
export interface Loaded {
  readonly state: ExecutionState;
  readonly revision: CompiledRevision;
}

/** Throws EXECUTION_NOT_FOUND, or the refusal of the command's rule. */
export async function sendCommand(
  parts: RpcParts,
  caller: Caller,
  request: { readonly executionId: string; readonly validateOnly: boolean },
  command: ControlCommand,
): Promise<Applied> {
  const record = await parts.executions.getExecution(caller, request.executionId);
  if (!record) throw executionNotFound(request.executionId);
  if (request.validateOnly) return await previewOf(parts, caller, record.id, command);
  // It may have ended by the very command that is repeated here; its ledger knows.
  if (record.endedAt !== undefined && command.kind !== "retry" && caller.change?.key === undefined) {
    throw new AppError("EXECUTION_TERMINAL", `the execution has ended: ${record.state.toUpperCase()}`, {
      metadata: { executionId: record.id, state: record.state.toUpperCase() },
    });
  }
  const answer = await parts.engine.control(caller, record.id, command);
  return { answer, executionId: record.id, execution: await readExecutionMessage(parts, caller, record.id, true) };
}

async function previewOf(parts: RpcParts, caller: Caller, executionId: string, command: ControlCommand): Promise<Applied> {
  const loaded = await loadExecution(parts, caller, executionId);
  const { state } = loaded;
  const events = previewCommand({ ...loaded, now: parts.clock.now() }, command);
  if (events instanceof AppError) throw events;
  for (const event of events) applyEvent(state, { ...event, sequence: state.sequence + 1 });
  return { executionId, execution: executionFromState(state), preview: loaded };
}

/** Folds an execution's ledger; the state is the caller's own. Throws EXECUTION_NOT_FOUND. */
export async function loadExecution(parts: Pick<RpcParts, "executions" | "definitions">, caller: Caller, reference: string): Promise<Loaded> {
  const executionId = await resolveExecutionId(parts, caller, reference);
  const state = await readExecution((...page) => parts.executions.listEvents(...page), caller, executionId);
  if (!state?.info) throw executionNotFound(reference);
  return { state, revision: await parts.definitions.of(state) };
}
