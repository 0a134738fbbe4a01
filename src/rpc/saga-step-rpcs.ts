/** SagaCoordinationService: steps that join a saga, and what becomes of them. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type BatchReportResult,
  BatchReportResultSchema,
  BatchReportStepsResponseSchema,
  EnlistStepResponseSchema,
  type ReportStepRequest,
  type ReportStepResponse,
  ReportStepResponseSchema,
  type SagaCoordinationService,
  StepDecision,
} from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { Operation, type Task, TaskSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, missingField, violationsError } from "../base/errors.ts";
import { findJsonFault, isJsonObject, type Json, type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { baggageOf } from "../base/trace-context.ts";
import { checkSagaSteps } from "../domain/check-saga-steps.ts";
import { type EnlistDecision, withStage } from "../domain/control-enlist.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { RecordedOutcome, ReportDecision } from "../domain/reported-outcome.ts";
import { isTurned } from "../domain/reported-outcome.ts";
import { kindOfJoining } from "../domain/saga-definition.ts";
import { isTerminal } from "../domain/states.ts";
import { type OperationRef, openToken, sealToken, taskIdOf } from "../domain/task-token.ts";
import { statusOf } from "./error-status.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { control, loadSaga, resolveSagaId } from "./saga-parts.ts";
import { checkSagaSecrets } from "./saga-secrets.ts";
import { sagaStepToJson } from "./saga-start-rpcs.ts";
import { decisionToMessage, outcomeOfResult, recordedToResult } from "./wire/task.ts";
import { timestampOf } from "./wire/time.ts";

type SagaStepRpcs = Pick<ServiceImpl<typeof SagaCoordinationService>, "enlistStep" | "reportStep" | "batchReportSteps">;

export function sagaStepRpcs(parts: RpcParts): SagaStepRpcs {
  return {
    async enlistStep(request, context) {
      const caller = callerOf(context);
      const { selfDriven } = request;
      if (!request.step) throw missingField("step");
      const step = sagaStepToJson(request.step);
      const sagaId = await resolveSagaId(parts, caller, request.sagaId);
      const { state } = await loadSaga(parts, caller, sagaId);
      const isKnown = state.enlisted.some(({ name }) => name === step["name"]);
      // What has ended or turns back, and what has joined, is for the saga's own rule to answer.
      if (!isKnown && !isTerminal(state.status) && !isTurned(state)) await checkJoining(parts, caller, state, step, selfDriven);
      const stepKind = isKnown ? undefined : kindOfJoining(step, selfDriven, await parts.stepTypesOf(caller.tenantId));
      const answer = await control(parts, caller, sagaId, { kind: "enlist_step", step, selfDriven, stepKind });
      const decision = decisionOf(answer) as EnlistDecision;
      if (decision === "STOP") return create(EnlistStepResponseSchema, { decision: StepDecision.STOP });
      return create(EnlistStepResponseSchema, await enlisted(parts, caller, sagaId, String(step["name"]), decision));
    },

    async reportStep(request, context) {
      return await report(parts, callerOf(context), request, "");
    },

    async batchReportSteps(request, context) {
      const caller = callerOf(context);
      return create(BatchReportStepsResponseSchema, { results: await reportAll(parts, caller, request.reports) });
    },
  };
}

async function checkJoining(parts: RpcParts, caller: Caller, state: ExecutionState, step: JsonObject, selfDriven: boolean): Promise<void> {
  if (jsonBytes(step) > limits.definitionBytesMax)
    throw new AppError("PAYLOAD_TOO_LARGE", `the step is larger than ${limits.definitionBytesMax} bytes of JSON`);
  const fault = findJsonFault(step);
  if (fault) throw violationsError([{ field: `step.${fault.path}`, reason: "VALIDATION_FAILED", description: fault.problem }]);
  const joining = { name: String(step["name"]), step: withStage(step, state.enlisted), selfDriven, at: "step" };
  const { info } = state;
  const policy = info?.saga?.compensationPolicy;
  const definition = info && !info.saga ? (await parts.workflows.getRevision(caller, info.workflowId, info.revision))?.definition : undefined;
  const steps = [...state.enlisted.map((before) => ({ ...before, at: undefined })), joining];
  const violations = checkSagaSteps(steps, await parts.stepTypesOf(caller.tenantId), {
    ...(policy === undefined ? {} : { compensationPolicy: policy }),
    ...(definition === undefined ? {} : { definition }),
  });
  if (violations.length > 0) throw violationsError(violations);
  await checkSagaSecrets(parts, caller, [{ step, selfDriven, at: "step" }]);
}

/** How often and how long the beginning of a step that joined is looked for: it stands in the same commit unless its driver is leaving. */
const looksMax = 40;
const lookMs = 50;

/** What its caller needs: where the step acts by itself the token, once its attempt has begun. */
async function enlisted(
  parts: RpcParts,
  caller: Caller,
  sagaId: string,
  path: string,
  decision: EnlistDecision,
): Promise<{ decision: StepDecision; task?: Task }> {
  for (let look = 1; ; look++) {
    const { state } = await loadSaga(parts, caller, sagaId);
    const isSelfDriven = state.enlisted.find(({ name }) => name === path)?.selfDriven === true;
    const run = state.steps.get(path);
    const found = decision === "ALREADY" ? StepDecision.ALREADY : StepDecision.CONTINUE;
    if (run || !isSelfDriven) return { decision: found, task: taskOf(parts, caller, state, path, isSelfDriven) };
    // It turned back before the step began: it never will.
    if (isTurned(state) || isTerminal(state.status)) return { decision: StepDecision.STOP };
    if (look === looksMax) throw new AppError("STORAGE_UNAVAILABLE", "the step has joined and has not begun yet; repeat the call", { retryAfterMs: 500 });
    await parts.clock.sleep(lookMs);
  }
}

function taskOf(parts: RpcParts, caller: Caller, state: ExecutionState, path: string, isSelfDriven: boolean): Task {
  const run = state.steps.get(path);
  const ref: OperationRef = { executionId: state.executionId, path, operation: "action", generation: 0, attempt: Math.max(run?.attempt ?? 0, 1) };
  return create(TaskSchema, {
    id: taskIdOf(ref),
    executionId: state.executionId,
    stepPath: path,
    operation: Operation.ACTION,
    idempotencyKey: `${state.executionId}/${path}/action`,
    attempt: ref.attempt,
    token: isSelfDriven ? sealToken(parts.taskTokenKey, caller.tenantId, ref) : "",
    deadline: timestampOf(run?.report?.deadlineAt),
    input: inputOf(run?.input),
    correlationId: state.info?.correlationId ?? "",
    traceparent: state.info?.traceparent ?? "",
    tracestate: state.info?.tracestate ?? "",
    baggage: baggageOf({ executionId: state.executionId, stepPath: path, correlationId: state.info?.correlationId ?? "" }, state.info?.baggage) ?? "",
  });
}

function inputOf(config: Json | undefined): JsonObject | undefined {
  return isJsonObject(config) && isJsonObject(config["input"]) ? config["input"] : undefined;
}

/** Reports of one saga one after the other, of several side by side. */
async function reportAll(parts: RpcParts, caller: Caller, reports: readonly ReportStepRequest[]): Promise<BatchReportResult[]> {
  const results: BatchReportResult[] = [];
  const bySaga = Map.groupBy(reports.entries(), ([, { sagaId }]) => sagaId);
  await Promise.all(
    [...bySaga.values()].map(async (own) => {
      for (const [index, one] of own) results[index] = await reportOne(parts, caller, one, `reports[${index}].`);
    }),
  );
  return results;
}

async function reportOne(parts: RpcParts, caller: Caller, request: ReportStepRequest, prefix: string): Promise<BatchReportResult> {
  try {
    return create(BatchReportResultSchema, { result: { case: "response", value: await report(parts, caller, request, prefix) } });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return create(BatchReportResultSchema, { result: { case: "error", value: statusOf(error) } });
  }
}

async function report(parts: RpcParts, caller: Caller, request: ReportStepRequest, prefix: string): Promise<ReportStepResponse> {
  const ref = openToken(parts.taskTokenKey, caller.tenantId, request.token);
  // The key in a token is its saga's; only a name has to be looked up.
  const sagaId = ref?.executionId === request.sagaId ? request.sagaId : await resolveSagaId(parts, caller, request.sagaId);
  const operation = operationWords[request.operation];
  if (!ref || ref.executionId !== sagaId || ref.path !== request.step || ref.operation !== operation)
    throw await unknownStep(parts, caller, sagaId, request.step, prefix);
  if (!request.result) throw missingField(`${prefix}result`);
  const { executionId: _, ...told } = ref;
  const outcome = outcomeOfResult(request.result, operation, `${prefix}result`);
  const answer = await control(parts, caller, sagaId, { kind: "report", ...told, outcome, random: Math.random() });
  const recorded = answer?.["recorded"] as RecordedOutcome | undefined;
  return create(ReportStepResponseSchema, {
    decision: decisionToMessage[decisionOf(answer) as ReportDecision],
    ...(recorded === undefined ? {} : { recorded: recordedToResult(recorded) }),
  });
}

const operationWords = {
  [Operation.UNSPECIFIED]: "action",
  [Operation.ACTION]: "action",
  [Operation.COMPENSATE]: "compensate",
  [Operation.CONFIRM]: "confirm",
} as const;

function decisionOf(answer: JsonObject | undefined): string {
  return String(answer?.["decision"] ?? "");
}

function wrongToken(field: string): AppError {
  return violationsError([{ field, reason: "TOKEN_INVALID", description: "belongs to another step, operation or saga; use the one that came with this task" }]);
}

async function unknownStep(parts: RpcParts, caller: Caller, sagaId: string, path: string, prefix: string): Promise<AppError> {
  const { state, revision } = await loadSaga(parts, caller, sagaId);
  const isKnown = state.steps.has(path) || revision.definition.stepsByName.has(path.slice(path.lastIndexOf("/") + 1));
  return isKnown ? wrongToken(`${prefix}token`) : new AppError("STEP_NOT_FOUND", `the saga has no step ${path}`, { metadata: { sagaId, path } });
}
