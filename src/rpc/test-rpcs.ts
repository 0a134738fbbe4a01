/** WorkflowService: TestWorkflow, a dry run with fixtures instead of effects. */
import { create, toBinary } from "@bufbuild/protobuf";
import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionStepSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import {
  type StepFixtureAttempt,
  type TestWorkflowRequest,
  TestWorkflowResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { violationsError } from "../base/errors.ts";
import { systemIds } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import { dryRun, type FixtureAttempt } from "../engine/dry-run.ts";
import { checkDefinition } from "./definition-check.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { eventToMessage } from "./wire/event.ts";
import { executionFromState } from "./wire/execution.ts";
import { failureFromMessage } from "./wire/failure.ts";
import { fitEvent, fitSteps } from "./wire/fit.ts";
import { stepsFromState } from "./wire/step.ts";
import { jsonFromValue } from "./wire/value.ts";
import { workflowNotFound } from "./workflow-rpcs.ts";

export function testRpcs(parts: RpcParts): Pick<ServiceImpl<typeof WorkflowService>, "testWorkflow"> {
  return {
    async testWorkflow(request, context) {
      const caller = callerOf(context);
      const revision = await subjectOf(parts, caller, request);
      const fixtures = new Map(Object.entries(request.fixtures).map(([key, { attempts }]) => [key, attempts.map(fixtureOf)]));
      const environment = { handlers: parts.handlers, monotonic: () => parts.clock.monotonic() };
      const { state, events, truncated, unreachedSteps } = await dryRun(environment, revision, {
        executionId: systemIds.next("execution"),
        tenantId: caller.tenantId,
        input: request.input ?? {},
        fixtures,
        startAt: request.startTime ? Math.trunc(timestampMs(request.startTime)) : parts.clock.now(),
      });
      const steps = fitSteps(stepsFromState(state, revision.definition));
      const bytes = steps.reduce((sum, step) => sum + toBinary(ExecutionStepSchema, step).length, 0);
      const shown = fitting(
        events.map((event) => fitEvent(eventToMessage({ executionId: state.executionId, correlationId: state.info?.correlationId ?? "" }, event))),
        limits.pageBytesMax - bytes,
      );
      const execution = executionFromState(state);
      return create(TestWorkflowResponseSchema, {
        execution,
        steps,
        events: shown,
        truncated: truncated || shown.length < events.length,
        unreachedSteps: [...unreachedSteps],
      });
    },
  };
}

async function subjectOf(parts: RpcParts, caller: Caller, request: TestWorkflowRequest): Promise<CompiledRevision> {
  const { subject, revision, parameters } = request;
  switch (subject.case) {
    case "definition": {
      const { source } = checkDefinition(subject.value, await parts.stepTypesOf(caller.tenantId), "definition");
      return parts.definitions.compile({ workflowId: "", workflowName: "", revision: 0, definition: source, parameters: parameters ?? {} });
    }
    case "workflow": {
      const workflow = await parts.workflows.getWorkflow(caller, subject.value);
      if (!workflow) throw workflowNotFound(subject.value);
      const number = revision || workflow.activeRevision || workflow.latestRevision;
      const compiled = await parts.definitions.get(caller.tenantId, workflow.id, number);
      return parameters ? { ...compiled, params: parameters } : compiled;
    }
    case undefined:
      throw violationsError([{ field: "workflow", reason: "VALIDATION_FAILED", description: "name a workflow, or give a definition" }]);
    default:
      return subject satisfies never;
  }
}

function fixtureOf({ outcome, latency }: StepFixtureAttempt): FixtureAttempt {
  const latencyMs = latency ? durationMs(latency) : 0;
  if (outcome.case === "failure") return { outcome: { failure: failureFromMessage(outcome.value) }, latencyMs };
  return { outcome: { result: outcome.case === "result" ? jsonFromValue(outcome.value) : null }, latencyMs };
}

/** The first events, as many as `bytesMax` hold. */
function fitting(events: readonly ExecutionEvent[], bytesMax: number): ExecutionEvent[] {
  let bytes = 0;
  const end = events.findIndex((event) => (bytes += toBinary(ExecutionEventSchema, event).length) > bytesMax);
  return end === -1 ? [...events] : events.slice(0, end);
}
