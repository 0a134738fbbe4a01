/** What the rpcs of sagas share: a saga is an execution, named by its own reasons. */
import type { Saga } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { type ControlCommand, previewCommand } from "../domain/control-command.ts";
import { applyEvent } from "../domain/execution.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { readExecution } from "../engine/read-execution.ts";
import type { RpcParts } from "./parts.ts";
import type { Loaded } from "./send-command.ts";
import { showTaken } from "./taken-steps.ts";
import { fitSteps } from "./wire/fit.ts";
import { sagaFromState } from "./wire/saga.ts";
import type { WireView } from "./wire/step.ts";

function sagaNotFound(reference: string): AppError {
  return new AppError("SAGA_NOT_FOUND", `saga ${reference} does not exist`, { metadata: { sagaId: reference } });
}

/** The id behind an id or `key:<execution_key>`. Throws SAGA_NOT_FOUND. */
export async function resolveSagaId(parts: Pick<RpcParts, "executions">, caller: Caller, reference: string): Promise<string> {
  const record = await parts.executions.getExecution(caller, reference);
  if (!record) throw sagaNotFound(reference);
  return record.id;
}

/** Folds a saga's ledger; the state is the caller's own. Throws SAGA_NOT_FOUND. */
export async function loadSaga(parts: Pick<RpcParts, "executions" | "definitions">, caller: Caller, sagaId: string): Promise<Loaded> {
  const state = await readExecution((...page) => parts.executions.listEvents(...page), caller, sagaId);
  if (!state?.info) throw sagaNotFound(sagaId);
  return { state, revision: await parts.definitions.of(state) };
}

/** The saga as its ledger tells it. */
export async function sagaMessage(
  parts: Pick<RpcParts, "executions" | "definitions" | "tasks">,
  caller: Caller,
  sagaId: string,
  view: WireView = "full",
): Promise<Saga> {
  const saga = sagaOf(await loadSaga(parts, caller, sagaId), view);
  await showTaken(parts, caller, sagaId, saga.steps);
  return saga;
}

export function sagaOf({ state, revision }: Loaded, view: WireView = "full"): Saga {
  const saga = sagaFromState(state, revision.definition, view);
  saga.steps = fitSteps(saga.steps);
  return saga;
}

export interface SagaWish {
  readonly sagaId: string;
  readonly validateOnly?: boolean;
}

/**
 * Hands a command to a saga and answers with the saga after it, or as it would be (`validate_only`). Throws SAGA_NOT_FOUND, or
 * the refusal of the command's rule.
 */
export async function commandSaga(
  parts: RpcParts,
  caller: Caller,
  wish: SagaWish,
  command: ControlCommand,
): Promise<{ readonly loaded: Loaded; readonly answer: JsonObject | undefined }> {
  const sagaId = await resolveSagaId(parts, caller, wish.sagaId);
  if (wish.validateOnly) return { loaded: await preview(parts, caller, sagaId, command), answer: undefined };
  const answer = await control(parts, caller, sagaId, command);
  return { loaded: await loadSaga(parts, caller, sagaId), answer };
}

/** As Engine.control, with the reason that callers of sagas know. */
export async function control(parts: Pick<RpcParts, "engine">, caller: Caller, sagaId: string, command: ControlCommand): Promise<JsonObject | undefined> {
  try {
    return await parts.engine.control(caller, sagaId, command);
  } catch (error) {
    if (error instanceof AppError && error.reason === "EXECUTION_NOT_FOUND") throw sagaNotFound(sagaId);
    throw error;
  }
}

async function preview(parts: RpcParts, caller: Caller, sagaId: string, command: ControlCommand): Promise<Loaded> {
  const { state, revision } = await loadSaga(parts, caller, sagaId);
  const events = previewCommand({ state, revision, now: parts.clock.now() }, command);
  if (events instanceof AppError) throw events;
  for (const event of events) applyEvent(state, { ...event, sequence: state.sequence + 1 });
  return { state, revision: await parts.definitions.of(state as ExecutionState) };
}
