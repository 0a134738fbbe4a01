/**
 * EnlistStep and LeaveSaga. A step joins before it acts, with everything its undo needs; in a saga that turns back nothing is
 * registered and the caller is told to stop. The command was checked against the state its sender had read (names, endpoints,
 * expressions); what may have changed since is checked here, where only one writer decides.
 */
import { AppError, violationsError } from "../base/errors.ts";
import { canonicalJson, type JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { Answered } from "./answered.ts";
import type { CommandContext } from "./command-context.ts";
import { type ControlRequest, stateMetadata, terminalError } from "./control.ts";
import { conflict } from "./control-saga.ts";
import type { NewEvent } from "./events.ts";
import type { EnlistedStep, ExecutionState } from "./execution-state.ts";
import { joinedSteps, stageOf } from "./saga-definition.ts";
import type { CompensationKind } from "./states.ts";
import { isTerminal } from "./states.ts";

export interface EnlistRequest {
  /** A SagaStep as the contract's JSON, as its caller wrote it. */
  readonly step: JsonObject;
  readonly selfDriven: boolean;
  /** Its kind, declared or by what it does. */
  readonly stepKind: CompensationKind | undefined;
}

/** `ALREADY`: it had joined before, with the same payload. */
export type EnlistDecision = "CONTINUE" | "STOP" | "ALREADY";

export function enlistStep({ state, revision, now }: CommandContext, request: EnlistRequest): Answered | AppError {
  const name = String(request.step["name"]);
  const known = state.enlisted.find((enlisted) => enlisted.name.toLowerCase() === name.toLowerCase());
  if (isTerminal(state.status)) return conflict(state, "it has ended; do not act");
  if (state.turn || state.cancel) return decided("STOP");
  if (known) return isSame(known, request) ? decided("ALREADY") : payloadMismatch(state, name);
  if ([...revision.definition.stepsByName.keys()].some((taken) => taken.toLowerCase() === name.toLowerCase())) {
    return new AppError("STEP_NAME_DUPLICATE", `"${name}" is already the name of a step of the workflow; choose another one`);
  }
  if (state.saga === "initializing" || state.startedAt === undefined) return conflict(state, "it has not begun; submit it first");
  if (state.saga === "stuck") return conflict(state, "it is stuck; nothing may join before it goes on");
  if (state.completeWhenIdle) return conflict(state, "it was told that no more steps come");
  if (state.paused) return conflict(state, "it is paused; resume it first");
  const late = whyTooLate(state, revision.definition, request.stepKind);
  if (late) return late;
  if (state.enlisted.length >= limits.stepsPerDefinitionMax) {
    return violationsError([{ field: "step", reason: "LIMIT_EXCEEDED", description: `a saga holds at most ${limits.stepsPerDefinitionMax} steps` }]);
  }
  const payload = { step: withStage(request.step, state.enlisted), ...(request.selfDriven ? { selfDriven: true } : {}) };
  return new Answered([{ type: "step_enlisted", at: now, stepPath: name, attempt: 0, payload }], { decision: "CONTINUE" });
}

function decided(decision: EnlistDecision): Answered {
  return new Answered([], { decision });
}

/** A step without a stage comes after all that joined before. */
export function withStage(step: JsonObject, before: readonly EnlistedStep[]): JsonObject {
  return stageOf(step) > 0 ? step : { ...step, stage: before.reduce((last, enlisted) => Math.max(last, stageOf(enlisted.step)), 0) + 1 };
}

/** The stage is compared only where the caller names one. */
function isSame(known: EnlistedStep, { step, selfDriven }: EnlistRequest): boolean {
  const stage = stageOf(step) > 0 ? {} : { stage: stageOf(known.step) };
  return known.selfDriven === selfDriven && canonicalJson(known.step) === canonicalJson({ ...step, ...stage });
}

function payloadMismatch(state: ExecutionState, name: string): AppError {
  const message = `step "${name}" has joined with another payload; use a name of its own for another step`;
  return new AppError("STEP_PAYLOAD_MISMATCH", message, { metadata: { ...stateMetadata(state), path: name } });
}

/** Behind the point of no return only what must succeed or has no effect may join. */
function whyTooLate(state: ExecutionState, definition: CommandContext["revision"]["definition"], kind: CompensationKind | undefined): AppError | undefined {
  if (kind === "retriable" || kind === "readonly") return undefined;
  const pivot = joinedSteps(definition).find((step) => step.kind === "pivot");
  if (pivot) {
    const message = `the saga has its PIVOT ${pivot.name}: only RETRIABLE and READONLY steps may follow it`;
    return new AppError("PIVOT_ORDER", message, { violations: [{ field: "step.kind", reason: "PIVOT_ORDER", description: message }] });
  }
  if (!state.pastPivot) return undefined;
  return new AppError("PAST_PIVOT", "the saga can no longer turn back: only RETRIABLE and READONLY steps may join", { metadata: stateMetadata(state) });
}

export interface LeaveRequest extends ControlRequest {
  readonly path: string;
}

/** A step that has done nothing is withdrawn. One that its caller carries out has done nothing when its caller says so. */
export function leaveSaga({ state, now }: CommandContext, request: LeaveRequest): NewEvent[] | AppError {
  const { path, reason } = request;
  const enlisted = state.enlisted.find(({ name }) => name === path);
  if (!enlisted) return new AppError("STEP_NOT_FOUND", `no step ${path} has joined this saga`, { metadata: { executionId: state.executionId, path } });
  const run = state.steps.get(path);
  if (run?.status === "skipped") return [];
  if (isTerminal(state.status)) return terminalError(state);
  const hasDoneNothing =
    !run ||
    run.status === "pending" ||
    (enlisted.selfDriven && run.report !== undefined && !run.leftUnknown) ||
    (run.status === "retrying" && run.action === "failed" && !run.leftUnknown);
  if (!hasDoneNothing) {
    const metadata = { ...stateMetadata(state), path, stepState: run.status.toUpperCase() };
    return new AppError("STEP_STATE_CONFLICT", `step ${path} is ${run.status.toUpperCase()} and may have had an effect; abort the saga to undo it`, {
      metadata,
    });
  }
  const payload = { reason: reason === "" ? "it left the saga" : reason, surely: true };
  return [{ type: "step_skipped", at: now, stepPath: path, attempt: run?.attempt ?? 0, payload }];
}
