/**
 * The client of the service: start a workflow, watch it, wait for its result, and the generated clients of all services beside it.
 *
 *   const wf = createWorkflowClient();                        // PAWF_URL and PAWF_API_KEY
 *   const run = await wf.start("order-fulfilment", { order: 42 });
 *   for await (const told of run.watch()) console.log(told.sequence, told.event, told.state);
 *   console.log(await run.result());
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { ConflictPolicy, WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { type ConnectionOptions, openConnection } from "./connection.ts";
import { type CallOptions, callOptions, present, Run } from "./run.ts";

export { type CodeName, errorOfStatus, type FieldViolation, isReason, type ReasonName, WorkflowApiError } from "./api-error.ts";
export type { ApiKey, ConnectionOptions } from "./connection.ts";
export { type Plain, type PlainObject, toPlain } from "./plain.ts";
export type { CallOptions, CancelOptions, ResultOptions, Run, SignalOptions } from "./run.ts";
export type { ExecutionTold, RunEvent, SnapshotTold, StepEvent } from "./run-events.ts";
export type { RunFailure, RunStatus, RunStatusName } from "./run-status.ts";
export type { WatchOptions } from "./run-watch.ts";
export type { StepStateName } from "./states-after.ts";

export interface StartOptions extends CallOptions {
  /** [the active one] */
  readonly revision?: number;
  /** Name of the run, unique among the open ones: 1 to 128 of A-Z a-z 0-9 . _ : -. */
  readonly executionKey?: string;
  /** When an open run has the key: refuse with EXECUTION_EXISTS, answer with it, or terminate it first. [FAIL] */
  readonly conflictPolicy?: Exclude<keyof typeof ConflictPolicy, "UNSPECIFIED">;
  readonly correlationId?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** 1 to 9, higher first. [5] */
  readonly priority?: number;
  /** It begins so much later. [0] */
  readonly startDelayMs?: number;
}

export interface StartedRun extends Run {
  /** It was there before: the call was a repeat, or its key was in use. */
  readonly existing: boolean;
}

/** The generated clients go with the same key, deadlines, retries, request ids and errors. Their streams are not resumed. */
export interface WorkflowClient extends Disposable {
  readonly workflows: Client<typeof WorkflowService>;
  readonly templates: Client<typeof TemplateService>;
  readonly sagas: Client<typeof SagaCoordinationService>;
  readonly tasks: Client<typeof TaskService>;
  readonly secrets: Client<typeof SecretService>;
  readonly files: Client<typeof FileService>;
  readonly monitoring: Client<typeof MonitoringService>;
  readonly access: Client<typeof AccessService>;
  /** For generated clients of other services behind the same address. */
  readonly transport: Transport;
  /** Starts an execution of a workflow, by its name or id. It is durable when this returns. */
  start(workflow: string, input?: JsonObject, options?: StartOptions): Promise<StartedRun>;
  /** A run that was started elsewhere, by its id or `key:<execution_key>`. Nothing is asked of the service. */
  run(executionId: string): Run;
  /** Ends open calls and watches. A program whose calls are over ends without it. */
  close(): void;
}

/** Nothing is sent before the first call. Throws when URL or key is missing or unusable. */
export function createWorkflowClient(options: ConnectionOptions = {}): WorkflowClient {
  const { transport, closed, close } = openConnection(options);
  const workflows = createClient(WorkflowService, transport);
  const run = (executionId: string): Run => new Run(workflows, closed, executionId);
  return {
    workflows,
    templates: createClient(TemplateService, transport),
    sagas: createClient(SagaCoordinationService, transport),
    tasks: createClient(TaskService, transport),
    secrets: createClient(SecretService, transport),
    files: createClient(FileService, transport),
    monitoring: createClient(MonitoringService, transport),
    access: createClient(AccessService, transport),
    transport,
    async start(workflow, input = {}, options = {}) {
      const { execution, existing } = await workflows.startExecution(startRequest(workflow, input, options), callOptions(options));
      return Object.assign(run(present(execution).id), { existing });
    },
    run,
    close,
    [Symbol.dispose]: close,
  };
}

function startRequest(workflow: string, input: JsonObject, options: StartOptions) {
  const { revision = 0, executionKey = "", conflictPolicy, correlationId = "", labels = {}, priority = 0, startDelayMs, requestId = "" } = options;
  return {
    workflow,
    input,
    revision,
    executionKey,
    conflictPolicy: conflictPolicy === undefined ? ConflictPolicy.UNSPECIFIED : ConflictPolicy[conflictPolicy],
    correlationId,
    labels: { ...labels },
    priority,
    requestId,
    ...(startDelayMs === undefined ? {} : { startDelay: durationFromMs(startDelayMs) }),
  };
}
