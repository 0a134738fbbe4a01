/**
 * What a saga has to say to whoever started it: "have you committed?" while it is prepared and nobody submits it, and "it has
 * ended" until somebody answers OK. Both may come twice; neither is ever guessed.
 */
import type { Caller } from "../base/caller.ts";
import { parseDurationMs } from "../base/duration.ts";
import { AppError } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { Mask } from "../base/mask.ts";
import { ok } from "../base/result.ts";
import { carriedBy } from "../base/trace-context.ts";
import { foldExecution } from "../domain/execution.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { failure } from "../domain/failure.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";
import { maskedServices } from "../steps/masked-services.ts";
import type { StepCall, StepHandler, StepServices } from "../steps/step-handler.ts";
import type { EngineStore } from "../store/engine-store.ts";
import type { SagaNotice, SagaNoticeStore } from "../store/saga-notice-store.ts";
import { attemptSecrets, noSecrets, type SecretSource } from "./attempt-secrets.ts";
import type { Engine } from "./engine.ts";

export interface SagaNoticesOptions {
  readonly store: SagaNoticeStore;
  readonly ledgers: Pick<EngineStore, "loadLedgers">;
  readonly engine: Pick<Engine, "control">;
  readonly handlers: ReadonlyMap<string, StepHandler>;
  readonly services: StepServices;
  readonly secrets?: SecretSource;
  readonly now: () => number;
  readonly callerOf: (tenantId: string) => Caller;
}

const noticesMax = 20;
const callMs = 10_000;
/** Nobody else tries it while it is being tried. */
const putOffMs = 30_000;
const firstPauseMs = 1_000;
const pauseMsMax = 300_000;

/** One portion of what is due; answers how many there were. */
export async function sendNotices(options: SagaNoticesOptions): Promise<number> {
  const notices = await options.store.claim(noticesMax, putOffMs);
  await Promise.all(
    notices.map(async (notice) => {
      const againMs = await send(options, notice).catch((error: unknown) => {
        options.services.log.warn(
          { executionId: notice.executionId, error: error instanceof Error ? error.message : String(error) },
          "a saga's notice is put off",
        );
        return pauseMs(notice.attempt);
      });
      await options.store.settle(notice, againMs);
    }),
  );
  return notices.length;
}

/** Doubling from a second to five minutes. */
function pauseMs(attempt: number): number {
  return Math.min(firstPauseMs * 2 ** Math.min(attempt - 1, 16), pauseMsMax);
}

/** Answers when it is tried again; undefined: it is done. */
async function send(options: SagaNoticesOptions, notice: SagaNotice): Promise<number | undefined> {
  const { tenantId, executionId, attempt } = notice;
  const ledger = (await options.ledgers.loadLedgers(tenantId, [executionId])).get(executionId);
  if (!ledger) return undefined;
  const state = foldExecution({ tenantId, executionId }, ledger);
  const endpoint = state.info?.saga?.checkBack;
  if (!endpoint) return undefined;
  if (state.endedAt !== undefined)
    return (await call(options, state, endpoint, attempt, "SagaEnded", endedRequest(state))).kind === "succeeded" ? undefined : pauseMs(attempt);
  if (state.saga !== "initializing") return undefined;
  const answer = await call(options, state, endpoint, attempt, "CheckPrepared", { ...identityOf(state), attempt });
  return answer.kind === "succeeded" ? await take(options, notice, responseOf(answer.result)) : pauseMs(attempt);
}

async function take(options: SagaNoticesOptions, { tenantId, executionId, attempt }: SagaNotice, response: JsonObject): Promise<number | undefined> {
  const caller = options.callerOf(tenantId);
  const decide = async (command: Parameters<Engine["control"]>[2]): Promise<undefined> => {
    await options.engine.control(caller, executionId, command).catch((error: unknown) => {
      // Somebody was quicker: submitted, aborted, or it ended.
      if (!(error instanceof AppError) || error.code === "UNAVAILABLE" || error.code === "INTERNAL") throw error;
    });
    return undefined;
  };
  switch (response["state"]) {
    case "PREPARED_STATE_COMMITTED":
      return await decide({ kind: "submit_saga" });
    case "PREPARED_STATE_ROLLED_BACK":
      return await decide({ kind: "abort_saga", actor: caller.actor, reason: "its starter has rolled back", rolledBack: true });
    default: {
      const asked = typeof response["retry_after"] === "string" ? parseDurationMs(response["retry_after"]) : undefined;
      return Math.min(asked ?? pauseMs(attempt), limits.serverDelayMsMax);
    }
  }
}

function identityOf({ executionId, info }: ExecutionState): JsonObject {
  return { saga_id: executionId, execution_key: info?.executionKey ?? "", correlation_id: info?.correlationId ?? "" };
}

function endedRequest(state: ExecutionState): JsonObject {
  return {
    ...identityOf(state),
    state: `SAGA_STATE_${state.saga.toUpperCase()}`,
    end_reason: `END_REASON_${(state.endReason ?? "unspecified").toUpperCase()}`,
    end_time: new Date(state.endedAt ?? 0).toISOString(),
    standing_effects: state.standingEffects.slice(0, 1_000),
  };
}

/** Over HTTP the answer is the body. */
function responseOf(result: Json): JsonObject {
  if (!isJsonObject(result)) return {};
  return isJsonObject(result["body"]) ? result["body"] : result;
}

/** As a step of the same type would call it: guarded, with secrets, masked. */
async function call(
  options: SagaNoticesOptions,
  state: ExecutionState,
  endpoint: JsonObject,
  attempt: number,
  method: string,
  request: JsonObject,
): Promise<StepOutcome> {
  const { grpc, http } = endpoint;
  const [type, config] = isJsonObject(grpc)
    ? ["grpc_call", { ...grpc, method, request }]
    : ["http_request", { ...(isJsonObject(http) ? http : {}), method: "POST", json: request }];
  const handler = options.handlers.get(type);
  if (!handler) return { kind: "failed", outcome: "failed", failure: failure("INTERNAL", `${type} is not available here`) };
  const mask = new Mask();
  const deadlineAt = options.now() + callMs;
  const path = method === "SagaEnded" ? "saga_ended" : "check_prepared";
  const late = new AbortController();
  const answered = new AbortController();
  void options.services.clock
    .sleep(callMs, answered.signal)
    .then(() => late.abort(failure("TIMEOUT.START_TO_CLOSE", "no answer came in time")))
    .catch(() => undefined);
  const stepCall: StepCall = {
    tenantId: state.tenantId,
    executionId: state.executionId,
    correlationId: state.info?.correlationId ?? "",
    stepPath: path,
    attempt,
    operation: "action",
    idempotencyKey: `${state.executionId}/${path}`,
    traceparent: state.info?.traceparent,
    carried: carriedBy(state.info),
    config,
    signal: late.signal,
    deadlineAt,
    secrets: attemptSecrets(options.secrets ?? noSecrets, mask, state.tenantId, { definition: { secretSlots: new Map() } }),
    now: options.now,
    evaluate: () => ok(null),
    portable: () => undefined,
  };
  try {
    return await handler.run(
      stepCall,
      maskedServices(options.services, mask, { executionId: state.executionId, correlationId: stepCall.correlationId, step: path, attempt }),
    );
  } finally {
    answered.abort(new Error("answered"));
  }
}
