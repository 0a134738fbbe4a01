/** From a caller's wish to a durable execution: which workflow and revision, whether the input fits, who was first. */
import { hash } from "node:crypto";
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import type { IdSource } from "../base/ids.ts";
import { canonicalJson, findJsonFault, type Json, type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { carriedBy } from "../base/trace-context.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import { copyResults, type RerunSource } from "../domain/control-rerun.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import { foldExecution } from "../domain/execution.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { evaluateExpression } from "../domain/expressions/evaluate-expression.ts";
import { findSchemaFaults } from "../domain/json-schema.ts";
import { scopeOf } from "../domain/scope.ts";
import type { ExistingStart } from "../store/sql/find-start.ts";
import type { ConcurrencyGate } from "./concurrency-gate.ts";
import type { Definitions } from "./definitions.ts";
import type { Engine } from "./engine.ts";
import type { NewExecution } from "./new-execution.ts";

export interface StartRequest {
  /** Id or name. */
  readonly workflow: string;
  /** 0 is the active one. */
  readonly revision: number;
  readonly input: JsonObject;
  readonly executionKey: string | undefined;
  readonly conflictPolicy: "fail" | "return_existing" | "terminate_existing";
  readonly correlationId: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** 0 to 9. */
  readonly priority: number;
  readonly startDelayMs: number;
  readonly requestId: string | undefined;
  /** The ended execution that this one repeats, wholly or from a step on. */
  readonly rerun?: { readonly source: RerunSource; readonly fromStep: string; readonly reason: string };
}

export interface Started {
  readonly executionId: string;
  /** The request id or the execution key was known: nothing new was started. */
  readonly existing: boolean;
  /** The request id was known: this is the answer to the first call. */
  readonly replayed?: boolean;
  /** Of a new execution, as of its first commit or later: saves reading what was just written. */
  readonly state?: ExecutionState;
}

export interface StartableWorkflow {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly activeRevision: number;
  /** What it does with starts while it is paused. */
  readonly pausedStarts: "queue" | "reject";
}

export interface StarterOptions {
  readonly engine: Engine;
  readonly definitions: Definitions;
  readonly ids: IdSource;
  readonly now: () => number;
  readonly findWorkflow: (caller: Caller, reference: string) => Promise<StartableWorkflow | undefined>;
  /** As it is now, not as it was a moment ago. */
  readonly readWorkflow: (caller: Caller, reference: string) => Promise<StartableWorkflow | undefined>;
  readonly gate: Pick<ConcurrencyGate, "take" | "drop" | "queued">;
  readonly findStart: (tenantId: string, requestId: string | undefined, executionKey: string | undefined) => Promise<ExistingStart | undefined>;
}

type Begun = Pick<Awaited<ReturnType<Engine["begin"]>>, "outcome"> & { readonly state?: ExecutionState };

/** A key that frees itself while its holder is being replaced is tried again this often. */
const conflictRoundsMax = 5;

export class Starter {
  readonly #options: StarterOptions;

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /** Throws the reasons of StartExecution; nothing is stored then. */
  async start(caller: Caller, request: StartRequest): Promise<Started> {
    const requestHash = fingerprint(request);
    let checked: { readonly revision: CompiledRevision; readonly held: boolean };
    try {
      checked = await this.#check(caller, request);
    } catch (error) {
      // What was startable when the call came first may not be so when it is repeated.
      const replayed = await this.#replayed(caller, request, requestHash);
      if (replayed) return replayed;
      throw error;
    }
    const { revision, held } = checked;
    for (let round = 1; round <= conflictRoundsMax; round++) {
      const first = this.#newExecution(caller, request, revision, requestHash, held ? "workflow_paused" : undefined);
      const place = await this.#takeSlot(caller, revision, first);
      if (place === "full") {
        // A repeated call was let in the first time.
        const existing = await this.#existing(caller, request, requestHash);
        if (existing) return existing;
        throw concurrencyLimit(revision);
      }
      const execution = place === "queued" ? heldBy(first, "concurrency") : first;
      const { outcome, state } = await this.#begin(caller.tenantId, revision, execution);
      switch (outcome.kind) {
        case "committed":
          if (place === "queued") this.#options.gate.queued();
          else if (held) await this.#releaseIfResumed(caller, revision.workflowId, execution.executionId);
          return { executionId: execution.executionId, existing: false, ...(state ? { state } : {}) };
        case "refused":
          throw violationsError([{ field: "input", reason: "VALIDATION_FAILED", description: `cannot be stored: ${outcome.message}` }]);
        case "fenced":
        case "conflict":
          throw new AppError("STORAGE_UNAVAILABLE", "this replica lost its lease before the start was written; try again", { retryAfterMs: 500 });
        case "exists": {
          const existing = await this.#existing(caller, request, requestHash);
          if (existing) return existing;
          break;
        }
        default:
          outcome satisfies never;
      }
    }
    throw new AppError("EXECUTION_EXISTS", "the execution key is being fought over; try again", { retryAfterMs: 500 });
  }

  /** Writes it; a slot of one that was not written is given back. */
  async #begin(tenantId: string, revision: CompiledRevision, execution: NewExecution): Promise<Begun> {
    const giveBack = async (): Promise<void> => {
      if (revision.definition.concurrency) await this.#options.gate.drop({ tenantId, executionId: execution.executionId });
    };
    try {
      const begun: Begun = (await this.#isTaken(tenantId, execution))
        ? { outcome: { kind: "exists" } }
        : await this.#options.engine.begin(tenantId, revision, execution);
      // After a lost answer nobody knows whether it was written; such a slot is freed when it has no execution.
      if (begun.outcome.kind === "exists" || begun.outcome.kind === "refused") await giveBack();
      return begun;
    } catch (error) {
      if (error instanceof AppError) await giveBack();
      throw error;
    }
  }

  /**
   * Whether an open execution has the key. The index that admits one open execution a key says nothing to a run that ends in its
   * first commit, since it is never open there; such a run counts as one that began and ended at this look.
   */
  async #isTaken(tenantId: string, { start: { requestId, executionKey } }: NewExecution): Promise<boolean> {
    return executionKey !== undefined && (await this.#options.findStart(tenantId, requestId, executionKey)) !== undefined;
  }

  /** Under the workflow's concurrency limit. Throws when its key cannot be told for this input. */
  async #takeSlot(caller: Caller, revision: CompiledRevision, { executionId, created }: NewExecution): Promise<"running" | "queued" | "full"> {
    const { concurrency } = revision.definition;
    if (!concurrency) return "running";
    const { tenantId } = caller;
    let groupKey = "";
    if (concurrency.key) {
      const state = foldExecution({ executionId, tenantId }, [{ ...created, sequence: 1 }]);
      const key = evaluateExpression(concurrency.key, scopeOf(state, revision, ""), { executionId, stepPath: "" });
      if (!key.ok)
        throw violationsError([{ field: "input", reason: "VALIDATION_FAILED", description: `concurrency.key has no value for it: ${key.fault.message}` }]);
      groupKey = typeof key.value === "string" ? key.value : canonicalJson(key.value);
    }
    const { maxRunning, onLimit } = concurrency;
    return await this.#options.gate.take({ tenantId, workflowId: revision.workflowId, groupKey: storableKey(groupKey), executionId, maxRunning, onLimit });
  }

  /** What a start would make, without making it. Throws the reasons of StartExecution that can be known beforehand. */
  async preview(caller: Caller, request: StartRequest): Promise<ExecutionState> {
    const revision = await this.check(caller, request);
    const { executionId, created } = this.#newExecution(caller, request, revision, fingerprint(request));
    return foldExecution({ executionId, tenantId: caller.tenantId }, [{ ...created, sequence: 1 }]);
  }

  /** Everything that can be refused before anything is written; `validate_only` is just this. */
  async check(caller: Caller, request: StartRequest): Promise<CompiledRevision> {
    const { revision } = await this.#check(caller, request);
    const holder = await this.#options.findStart(caller.tenantId, request.requestId, request.executionKey);
    const refusal = holder && refusalBy(holder, request, fingerprint(request));
    if (refusal) throw refusal;
    return revision;
  }

  async #check(caller: Caller, request: StartRequest): Promise<{ readonly revision: CompiledRevision; readonly held: boolean }> {
    const workflow = await this.#options.findWorkflow(caller, request.workflow);
    if (!workflow) throw new AppError("WORKFLOW_NOT_FOUND", `workflow ${request.workflow} does not exist`, { metadata: { workflow: request.workflow } });
    const held = workflow.state === "paused";
    if (held && workflow.pausedStarts === "reject")
      throw new AppError("WORKFLOW_PAUSED", `workflow ${workflow.name} is paused and refuses starts; resume it first`);
    if (workflow.state !== "active" && !held)
      throw new AppError("WORKFLOW_NOT_ACTIVE", `workflow ${workflow.name} is ${workflow.state.toUpperCase()}; activate a revision first`);
    const number = request.revision === 0 ? workflow.activeRevision : request.revision;
    const revision = await this.#options.definitions.get(caller.tenantId, workflow.id, number);
    checkInput(revision, request.input);
    // A workflow may have been renamed since its revision was compiled.
    return { revision: revision.workflowName === workflow.name ? revision : { ...revision, workflowName: workflow.name }, held };
  }

  /** A resume that happened while the start was written has not seen it. Should this process die here, the resume's second pass does. */
  async #releaseIfResumed(caller: Caller, workflowId: string, executionId: string): Promise<void> {
    try {
      if ((await this.#options.readWorkflow(caller, workflowId))?.state !== "active") return;
      await this.#options.engine.control(caller, executionId, {
        kind: "release",
        of: "workflow_paused",
        actor: caller.actor,
        reason: "its workflow was resumed",
      });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    }
  }

  #newExecution(caller: Caller, request: StartRequest, revision: CompiledRevision, requestHash: Buffer, held?: Held): NewExecution {
    const now = this.#options.now();
    const correlationId = request.correlationId ?? caller.correlationId;
    const shared = {
      workflowId: revision.workflowId,
      workflowName: revision.workflowName,
      revision: revision.revision,
      correlationId,
    };
    const copied = request.rerun && copyResults(revision.definition, request.rerun.source, { ...request.rerun, actor: caller.actor, now });
    if (copied instanceof AppError) throw copied;
    return {
      ...(copied ? { copied } : {}),
      executionId: this.#options.ids.next("execution"),
      start: {
        ...shared,
        executionKey: request.executionKey,
        requestId: request.requestId,
        requestHash: request.requestId === undefined ? undefined : requestHash,
        labels: { ...request.labels },
        priority: request.priority,
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
          input: request.input as Json,
          ...(request.executionKey === undefined ? {} : { executionKey: request.executionKey }),
          ...(Object.keys(request.labels).length === 0 ? {} : { labels: request.labels }),
          priority: request.priority,
          triggerType: request.rerun ? "rerun" : "api",
          ...(request.rerun ? { rerunOf: request.rerun.source.state.executionId } : {}),
          ...(held === undefined ? {} : { held }),
          ...(request.startDelayMs > 0 ? { startAt: now + request.startDelayMs } : {}),
          timeoutAt: now + request.startDelayMs + revision.definition.executionTimeoutMs,
          ...(caller.traceparent === undefined ? {} : { traceparent: caller.traceparent }),
          ...carriedBy(caller),
        },
      },
    };
  }

  /** The start that an earlier call with this request id and payload has made. */
  async #replayed(caller: Caller, request: StartRequest, requestHash: Buffer): Promise<Started | undefined> {
    if (request.requestId === undefined) return undefined;
    const holder = await this.#options.findStart(caller.tenantId, request.requestId, undefined);
    return holder?.byRequestId && holder.requestHash?.equals(requestHash) ? { executionId: holder.executionId, existing: true, replayed: true } : undefined;
  }

  /** What the holder of the id or the key means for this start; undefined: it is gone, try again. */
  async #existing(caller: Caller, request: StartRequest, requestHash: Buffer): Promise<Started | undefined> {
    const holder = await this.#options.findStart(caller.tenantId, request.requestId, request.executionKey);
    if (!holder) return undefined;
    const refusal = refusalBy(holder, request, requestHash);
    if (refusal) throw refusal;
    const { executionId } = holder;
    if (holder.byRequestId) return { executionId, existing: true, replayed: true };
    if (request.conflictPolicy === "return_existing") return { executionId, existing: true };
    await this.#terminate(caller, executionId);
    return undefined;
  }

  async #terminate(caller: Caller, executionId: string): Promise<void> {
    const command: ControlCommand = { kind: "terminate", actor: caller.actor, reason: "replaced by a start with the same execution key" };
    try {
      await this.#options.engine.control(caller, executionId, command);
    } catch (error) {
      if (!(error instanceof AppError) || error.reason !== "EXECUTION_TERMINAL") throw error;
    }
  }
}

/** Why the holder of the id or the key does not let this start be; undefined when it is this start's own answer, or gives way. */
function refusalBy({ executionId, byRequestId, requestHash }: ExistingStart, request: StartRequest, ownHash: Buffer): AppError | undefined {
  const metadata = { executionId };
  if (byRequestId) {
    if (requestHash?.equals(ownHash)) return undefined;
    return new AppError("REQUEST_ID_REUSED", "this request_id was used for another start; use a new one for a new request", { metadata });
  }
  if (request.conflictPolicy !== "fail") return undefined;
  return new AppError("EXECUTION_EXISTS", `an open execution has the key ${request.executionKey}; choose a conflict_policy or another key`, { metadata });
}

type Held = NonNullable<ExecutionState["held"]>;

function heldBy(execution: NewExecution, held: Held): NewExecution {
  const { created } = execution;
  return created.type === "execution_created" ? { ...execution, created: { ...created, payload: { ...created.payload, held } } } : execution;
}

/** Long keys by their digest; PostgreSQL takes no NUL. */
function storableKey(key: string): string {
  return key.length > 200 || findJsonFault(key) ? hash("sha256", key, "hex") : key;
}

function concurrencyLimit({ workflowName, definition }: CompiledRevision): AppError {
  const { maxRunning } = definition.concurrency as NonNullable<CompiledRevision["definition"]["concurrency"]>;
  return new AppError("CONCURRENCY_LIMIT", `workflow ${workflowName} runs at most ${maxRunning} executions of this group; try again when one has ended`, {
    metadata: { workflow: workflowName, maxRunning: String(maxRunning) },
    retryAfterMs: 1_000,
  });
}

/** Throws when an input cannot be stored or does not fit the revision's schema. */
export function checkInput(revision: Pick<CompiledRevision, "definition">, input: JsonObject): void {
  const fault = findJsonFault(input);
  if (fault) throw violationsError([{ field: fault.path === "" ? "input" : `input.${fault.path}`, reason: "VALIDATION_FAILED", description: fault.problem }]);
  if (jsonBytes(input) > limits.inputBytesMax)
    throw new AppError("PAYLOAD_TOO_LARGE", `the input is larger than ${limits.inputBytesMax} bytes; upload a file and pass its id`);
  const schema = revision.definition.inputSchema;
  const faults = schema ? findSchemaFaults(schema, input) : [];
  if (faults.length > 0) {
    throw violationsError(
      faults
        .slice(0, 20)
        .map(({ path, problem }) => ({ field: path === "" ? "input" : `input.${path}`, reason: "INPUT_SCHEMA_MISMATCH", description: problem })),
    );
  }
}

/** Equal exactly for equal requests; the correlation id is the call's, not the wish's. */
function fingerprint(request: StartRequest): Buffer {
  const { workflow, revision, input, executionKey, conflictPolicy, labels, priority, startDelayMs } = request;
  const rerun = request.rerun ? [request.rerun.source.state.executionId, request.rerun.fromStep] : [];
  return hash(
    "sha256",
    canonicalJson([workflow, revision, input, executionKey ?? null, conflictPolicy, { ...labels }, priority, startDelayMs, ...rerun]),
    "buffer",
  );
}
