/** The service as a sibling on Connect-ES sees it: generated clients over gRPC, and bare JSON over HTTP for curl users. */
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";

export interface Clients {
  readonly workflows: Client<typeof WorkflowService>;
  readonly templates: Client<typeof TemplateService>;
  readonly sagas: Client<typeof SagaCoordinationService>;
  readonly secrets: Client<typeof SecretService>;
  readonly tasks: Client<typeof TaskService>;
  readonly files: Client<typeof FileService>;
  readonly access: Client<typeof AccessService>;
  readonly monitoring: Client<typeof MonitoringService>;
}

export interface Target {
  readonly url: string;
  readonly apiKey: string;
}

/** `headers` go with every call; `apiKey: ""` sends none. */
export function connect({ url, apiKey }: Target, headers: Readonly<Record<string, string>> = {}): Clients {
  const transport = createGrpcTransport({ baseUrl: url, interceptors: [withHeaders(apiKey, headers)] });
  return {
    workflows: createClient(WorkflowService, transport),
    templates: createClient(TemplateService, transport),
    sagas: createClient(SagaCoordinationService, transport),
    secrets: createClient(SecretService, transport),
    tasks: createClient(TaskService, transport),
    files: createClient(FileService, transport),
    access: createClient(AccessService, transport),
    monitoring: createClient(MonitoringService, transport),
  };
}

export function withHeaders(apiKey: string, headers: Readonly<Record<string, string>>): Interceptor {
  return (next) => (request) => {
    if (apiKey !== "") request.header.set("authorization", `Bearer ${apiKey}`);
    for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
    return next(request);
  };
}

export interface JsonAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: {
    readonly code?: string;
    readonly message?: string;
    readonly details?: readonly { readonly type: string; readonly debug?: unknown; readonly value: string }[];
  } & Record<string, unknown>;
}

/** One Connect call as curl makes it; `method` is for example "WorkflowService/CreateWorkflow". `body` text is sent as it is. */
export async function postJson({ url, apiKey }: Target, method: string, body: unknown, headers: Record<string, string> = {}): Promise<JsonAnswer> {
  const response = await fetch(`${url}/pyairtable.workflow.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(apiKey === "" ? {} : { authorization: `Bearer ${apiKey}` }), ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as JsonAnswer["body"] };
}
