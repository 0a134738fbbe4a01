/** WorkflowService: what operators do to a single execution, and what helps them to decide. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { Execution, ExecutionStep } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation } from "#gen/pyairtable/workflow/v1/task_pb.js";
import {
  type BlockerSchema,
  CompleteStepResponseSchema,
  ExplainExecutionResponseSchema,
  FailStepResponseSchema,
  PreviewCompensationResponseSchema,
  SkipStepResponseSchema,
  UpdateVariablesResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import type { Blocker } from "../domain/blocker.ts";
import { openChildren } from "../domain/children.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import { previewCompensation } from "../domain/control-preview.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { explainExecution } from "../domain/explain.ts";
import type { ExecutionStatus } from "../domain/states.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { loadExecution, sendCommand } from "./send-command.ts";
import { executionStateWords } from "./wire/enums.ts";
import { standingEffectsMax } from "./wire/execution.ts";
import { failureFromMessage, failureToMessage } from "./wire/failure.ts";
import { stepsFromState } from "./wire/step.ts";
import { timestampOf } from "./wire/time.ts";
import { jsonFromValue } from "./wire/value.ts";

type OperateRpcs = Pick<
  ServiceImpl<typeof WorkflowService>,
  "skipStep" | "completeStep" | "failStep" | "updateVariables" | "previewCompensation" | "explainExecution"
>;

interface StepWish {
  readonly executionId: string;
  readonly path: string;
  readonly reason: string;
  readonly validateOnly: boolean;
}

export function operateRpcs(parts: RpcParts): OperateRpcs {
  const decide = async (
    request: StepWish,
    context: HandlerContext,
    command: (shared: { actor: string; reason: string; path: string }) => ControlCommand,
  ): Promise<{ step: ExecutionStep | undefined; execution: Execution }> => {
    const caller = callerOf(context);
    const { reason, path } = request;
    const applied = await sendCommand(parts, caller, request, command({ actor: caller.actor, reason, path }));
    const { state, revision } = applied.preview ?? (await loadExecution(parts, caller, applied.executionId));
    return { step: stepsFromState(state, revision.definition).find((step) => step.path === path), execution: applied.execution };
  };
  return {
    async skipStep(request, context) {
      const result = request.result === undefined ? {} : { result: jsonFromValue(request.result) };
      return create(SkipStepResponseSchema, await decide(request, context, (shared) => ({ kind: "skip_step", ...shared, ...result })));
    },

    async completeStep(request, context) {
      const result = request.result === undefined ? null : jsonFromValue(request.result);
      return create(CompleteStepResponseSchema, await decide(request, context, (shared) => ({ kind: "complete_step", ...shared, result })));
    },

    async failStep(request, context) {
      const failure = request.failure ? failureFromMessage(request.failure) : { name: "", message: "" };
      return create(FailStepResponseSchema, await decide(request, context, (shared) => ({ kind: "fail_step", ...shared, failure })));
    },

    async updateVariables(request, context) {
      const caller = callerOf(context);
      const { reason, variables = {} } = request;
      const { execution } = await sendCommand(parts, caller, request, { kind: "update_variables", actor: caller.actor, reason, variables });
      return create(UpdateVariablesResponseSchema, { execution });
    },

    async previewCompensation(request, context) {
      const { state, revision } = await loadExecution(parts, callerOf(context), request.executionId);
      const { compensations, standingEffects, pastPivot } = previewCompensation(revision.definition, state);
      return create(PreviewCompensationResponseSchema, {
        compensations: [...compensations],
        standingEffects: standingEffects.slice(0, standingEffectsMax),
        pastPivot,
      });
    },

    async explainExecution(request, context) {
      const caller = callerOf(context);
      const { state, revision } = await loadExecution(parts, caller, request.executionId);
      const owner = await parts.executions.findOwner(caller, state.executionId);
      const tasks = await parts.tasks.ofExecution(caller.tenantId, state.executionId);
      const children = await childStates(parts, caller, state);
      const { summary, blockers, rootCause } = explainExecution(revision.definition, state, { owner, tasks, children }, parts.clock.now());
      return create(ExplainExecutionResponseSchema, { summary, blockers: blockers.map(blockerMessage), rootCause: failureToMessage(rootCause) });
    },
  };
}

/** States of the children it waits for, of the first hundred. */
async function childStates(parts: RpcParts, caller: Caller, state: ExecutionState): Promise<ReadonlyMap<string, ExecutionStatus>> {
  const ids = openChildren(state)
    .slice(0, 100)
    .map(({ childId }) => childId);
  const records = await Promise.all(ids.map((id) => parts.executions.getExecution(caller, id)));
  return new Map(records.flatMap((record) => (record ? [[record.id, record.state] as const] : [])));
}

const operations = { action: Operation.ACTION, compensate: Operation.COMPENSATE } as const;

function blockerMessage({ stepPath, message, untilAt, cause }: Blocker): MessageInitShape<typeof BlockerSchema> {
  return { stepPath, message, untilTime: timestampOf(untilAt), cause: causeMessage(cause) };
}

function causeMessage(cause: Blocker["cause"]): NonNullable<MessageInitShape<typeof BlockerSchema>["cause"]> {
  switch (cause.kind) {
    case "event":
      return { case: "event", value: { eventType: cause.eventType, correlationKey: cause.correlationKey } };
    case "retry": {
      const { attempt, maximumAttempts } = cause;
      return { case: "retry", value: { operation: operations[cause.operation], attempt, maximumAttempts, failure: failureToMessage(cause.failure) } };
    }
    case "breaker":
      return { case: "breaker", value: { key: cause.key } };
    case "worker":
      return { case: "worker", value: { taskQueue: cause.queue, taskType: cause.taskType, backlog: BigInt(cause.backlog), workerCount: cause.workers } };
    case "timer":
      return { case: "timer", value: { source: cause.source } };
    case "child":
      return { case: "child", value: { executionId: cause.childId, ...(cause.state ? { state: executionStateWords.valueOf(cause.state) } : {}) } };
    case "pause":
      return { case: "pause", value: { actor: cause.actor, reason: cause.reason } };
    case "operator":
      return { case: "operator", value: { operation: operations[cause.operation], failure: failureToMessage(cause.failure) } };
    default:
      return cause satisfies never;
  }
}
