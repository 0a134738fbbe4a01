/** Clients of the public gRPC API, as any program would make them: generated services over one connection. */
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";

/** No call of the demo takes so long unless something is wrong. */
const callMsMax = 60_000;

export interface Clients {
  readonly templates: Client<typeof TemplateService>;
  readonly workflows: Client<typeof WorkflowService>;
}

export function connect(url: string, apiKey: string): Clients {
  const withKey: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl: url, interceptors: [withKey], defaultTimeoutMs: callMsMax });
  return { templates: createClient(TemplateService, transport), workflows: createClient(WorkflowService, transport) };
}
