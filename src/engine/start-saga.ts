/** From a caller's steps to a durable standalone saga: whether they may run together, and who was first. */
import { createHash } from "node:crypto";
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import type { IdSource } from "../base/ids.ts";
import { canonicalJson, findJsonFault, type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { carriedBy } from "../base/trace-context.ts";
import { checkCheckBack, checkSagaSteps } from "../domain/check-saga-steps.ts";
import { executionTimeoutMsDefault } from "../domain/definition.ts";
import type { NewEvent } from "../domain/events.ts";
import { foldExecution } from "../domain/execution.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { sagaBase } from "../domain/saga-definition.ts";
import type { StepTypes } from "../domain/step-type.ts";
import type { ExistingStart } from "../store/sql/find-start.ts";
import type { Engine } from "./engine.ts";
import type { NewExecution } from "./new-execution.ts";
import type { Started } from "./start-execution.ts";

export interface SagaStart {
  /** SagaSteps as the contract's JSON, in their order. */
  readonly steps: readonly JsonObject[];
  readonly prepared: boolean;
  readonly autoComplete: boolean;
  /** 0: the default. */
  readonly ttlMs: number;
  readonly correlationId: string | undefined;
  readonly executionKey: string | undefined;
  readonly compensationPolicy: JsonObject | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly checkBack: JsonObject | undefined;
  readonly requestId: string | undefined;
}

export interface SagaStarterOptions {
  readonly engine: Engine;
  /** As for definitions that this tenant saves now. */
  readonly stepTypesOf: (tenantId: string) => Promise<StepTypes>;
  readonly ids: IdSource;
  readonly now: () => number;
  readonly findStart: (tenantId: string, requestId: string | undefined, executionKey: string | undefined) => Promise<ExistingStart | undefined>;
}

/** Where no caller names one. */

export class SagaStarter {
  readonly #options: SagaStarterOptions;

  constructor(options: SagaStarterOptions) {
    this.#options = options;
  }

  /** Durable when it resolves. Throws the reasons of StartSaga; nothing is stored then. */
  async start(caller: Caller, wish: SagaStart): Promise<Started> {
    const { engine, findStart } = this.#options;
    const saga = await this.#newSaga(caller, wish);
    const base = sagaBase(foldExecution({ executionId: saga.executionId, tenantId: caller.tenantId }, [{ ...saga.created, sequence: 1 }]));
    // A key that was freed between the refusal and the look is tried once more.
    for (let round = 1; round <= 2; round++) {
      // One that ends in its first commit is never open, and the index of open keys does not see it.
      const isTaken = wish.executionKey !== undefined && (await findStart(caller.tenantId, saga.start.requestId, wish.executionKey)) !== undefined;
      const begun = isTaken ? undefined : await engine.begin(caller.tenantId, base, saga);
      const outcome = begun?.outcome ?? { kind: "exists" };
      if (begun && outcome.kind === "committed") return { executionId: saga.executionId, existing: false, state: begun.state };
      if (outcome.kind === "refused")
        throw violationsError([{ field: "steps", reason: "VALIDATION_FAILED", description: `cannot be stored: ${outcome.message}` }]);
      if (outcome.kind !== "exists") {
        throw new AppError("STORAGE_UNAVAILABLE", "this replica lost its lease before the saga was written; try again", { retryAfterMs: 500 });
      }
      const holder = await findStart(caller.tenantId, saga.start.requestId, wish.executionKey);
      if (holder) return existing(holder, saga.start.requestHash, wish);
    }
    throw new AppError("EXECUTION_EXISTS", "the execution key is being fought over; try again", { retryAfterMs: 500 });
  }

  /** The saga that an earlier call with this request id and payload has started. */
  async replayed(caller: Caller, wish: SagaStart): Promise<Started | undefined> {
    if (wish.requestId === undefined) return undefined;
    const holder = await this.#options.findStart(caller.tenantId, sagaRequestId(wish.requestId), undefined);
    return holder?.byRequestId && holder.requestHash?.equals(fingerprint(wish))
      ? { executionId: holder.executionId, existing: true, replayed: true }
      : undefined;
  }

  /** What a start would make, without making it. Throws what can be known beforehand. */
  async preview(caller: Caller, wish: SagaStart): Promise<ExecutionState> {
    const { executionId, created, enlisted = [], start } = await this.#newSaga(caller, wish);
    const holder = await this.#options.findStart(caller.tenantId, start.requestId, wish.executionKey);
    if (holder) existing(holder, start.requestHash, wish);
    const events = [created, ...enlisted].map((event, index) => ({ ...event, sequence: index + 1 }));
    return foldExecution({ executionId, tenantId: caller.tenantId }, events);
  }

  async #newSaga(caller: Caller, wish: SagaStart): Promise<NewExecution> {
    const steps = wish.steps.map((step, index) => (step["stage"] ? step : { ...step, stage: index + 1 }));
    this.#check(steps, wish, await this.#options.stepTypesOf(caller.tenantId));
    const now = this.#options.now();
    const correlationId = wish.correlationId ?? caller.correlationId;
    const shared = { workflowName: "", revision: 0, input: null, correlationId };
    const enlisted = steps.map((step): NewEvent => ({ type: "step_enlisted", at: now, stepPath: String(step["name"]), attempt: 0, payload: { step } }));
    return {
      executionId: this.#options.ids.next("execution"),
      enlisted,
      start: {
        ...shared,
        workflowId: undefined,
        executionKey: wish.executionKey,
        requestId: wish.requestId === undefined ? undefined : sagaRequestId(wish.requestId),
        requestHash: fingerprint(wish),
        labels: { ...wish.labels },
        priority: limits.priorityDefault,
        traceparent: caller.traceparent,
        createdAt: now,
      },
      created: {
        type: "execution_created",
        at: now,
        stepPath: "",
        attempt: 0,
        payload: {
          ...shared,
          workflowId: "",
          ...(wish.executionKey === undefined ? {} : { executionKey: wish.executionKey }),
          ...(Object.keys(wish.labels).length === 0 ? {} : { labels: wish.labels }),
          priority: limits.priorityDefault,
          triggerType: "saga",
          timeoutAt: now + (wish.ttlMs > 0 ? wish.ttlMs : executionTimeoutMsDefault),
          ...(caller.traceparent === undefined ? {} : { traceparent: caller.traceparent }),
          ...carriedBy(caller),
          saga: {
            ...(wish.autoComplete ? { autoComplete: true } : {}),
            ...(wish.prepared ? { prepared: true } : {}),
            ...(wish.compensationPolicy === undefined ? {} : { compensationPolicy: wish.compensationPolicy }),
            ...(wish.checkBack === undefined ? {} : { checkBack: wish.checkBack }),
          },
        },
      },
    };
  }

  #check(steps: readonly JsonObject[], wish: SagaStart, stepTypes: StepTypes): void {
    const bytes = jsonBytes([...steps]);
    if (bytes > limits.definitionBytesMax)
      throw new AppError("PAYLOAD_TOO_LARGE", `the steps are larger than ${limits.definitionBytesMax} bytes of JSON; pass references`);
    const fault = findJsonFault([...steps]);
    if (fault) throw violationsError([{ field: `steps${fault.path}`, reason: "VALIDATION_FAILED", description: fault.problem }]);
    const joining = steps.map((step, index) => ({ name: String(step["name"]), step, selfDriven: false, at: `steps[${index}]` }));
    const policy = wish.compensationPolicy === undefined ? {} : { compensationPolicy: wish.compensationPolicy };
    const asked = wish.checkBack === undefined ? [] : checkCheckBack(wish.checkBack, stepTypes);
    const violations = [...checkSagaSteps(joining, stepTypes, policy), ...asked];
    if (violations.length > 0) throw violationsError(violations);
  }
}

/** The ids of StartExecution are others: a request_id is kept per rpc. */
function sagaRequestId(requestId: string): string {
  return `saga:${requestId}`;
}

/** What the holder of the id or the key means for this start. */
function existing(holder: ExistingStart, requestHash: Buffer | undefined, wish: SagaStart): Started {
  const { executionId } = holder;
  const isSame = requestHash !== undefined && holder.requestHash?.equals(requestHash) === true;
  if (isSame) return { executionId, existing: true, replayed: holder.byRequestId };
  if (holder.byRequestId) {
    throw new AppError("REQUEST_ID_REUSED", "this request_id was used for another start; use a new one for a new request", { metadata: { executionId } });
  }
  throw new AppError("EXECUTION_EXISTS", `an open execution has the key ${wish.executionKey} and another payload; choose another key`, {
    metadata: { executionId },
  });
}

/** Equal exactly for equal requests; the correlation id is the call's, not the wish's. */
function fingerprint(wish: SagaStart): Buffer {
  const { steps, prepared, autoComplete, ttlMs, executionKey, compensationPolicy, labels, checkBack } = wish;
  const parts = [[...steps], prepared, autoComplete, ttlMs, executionKey ?? null, compensationPolicy ?? null, { ...labels }, checkBack ?? null];
  return createHash("sha256")
    .update(canonicalJson(["saga", ...parts]))
    .digest();
}
