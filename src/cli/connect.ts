/** Clients of the public API, as any program would make them: generated services over one connection. */
import { readFileSync } from "node:fs";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Arguments } from "./arguments.ts";
import { UsageError } from "./usage-error.ts";

export interface Connection {
  readonly url: string;
  readonly transport: Transport;
  readonly workflows: Client<typeof WorkflowService>;
  readonly templates: Client<typeof TemplateService>;
  readonly sagas: Client<typeof SagaCoordinationService>;
  readonly tasks: Client<typeof TaskService>;
  readonly access: Client<typeof AccessService>;
  close(): void;
}

export interface Target {
  readonly url: string;
  /** Empty = none is sent. Never shown. */
  readonly apiKey: string;
}

const urlDefault = "http://localhost:8006";
/** Longer than the longest call that the service keeps waiting; streams have no deadline. */
const callMsMax = 75_000;
/** A peer that is gone without a word is noticed by its silence. */
const pingMs = 15_000;
const pingMsMax = 10_000;

/** Where to and as whom: flags before environment. */
export function readTarget(args: Arguments, env: Readonly<Record<string, string | undefined>>): Target {
  const text = args.text("url") || env["PAWF_URL"] || urlDefault;
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) throw new UsageError(`the address must look like ${urlDefault} (--url or PAWF_URL)`);
  if (url.username !== "" || url.password !== "") throw new UsageError("the address carries no credentials: the key goes into PAWF_API_KEY");
  return { url: text.replace(/\/+$/, ""), apiKey: readKey(args.text("key") || env["PAWF_API_KEY"] || "") };
}

function readKey(text: string): string {
  let key = text;
  if (text.startsWith("@")) {
    try {
      key = readFileSync(text.slice(1), "utf8");
    } catch (error) {
      throw new UsageError(`the key's file cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown"}): ${text.slice(1)}`);
    }
  }
  // What is no header value would be refused with a message that may quote it.
  if (!/^[!-~]*$/.test(key.trim())) throw new UsageError("the API key holds characters that no key has; its value is not shown");
  return key.trim();
}

export function connect({ url, apiKey }: Target): Connection {
  const sessions = new Http2SessionManager(url, { pingIntervalMs: pingMs, pingTimeoutMs: pingMsMax });
  const withKey: Interceptor = (next) => (request) => {
    if (apiKey !== "") request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl: url, sessionManager: sessions, interceptors: [withKey] });
  const bounded: Transport = {
    unary: (method, signal, timeoutMs, ...rest) => transport.unary(method, signal, timeoutMs ?? callMsMax, ...rest),
    stream: (method, signal, timeoutMs, ...rest) => transport.stream(method, signal, timeoutMs, ...rest),
  };
  return {
    url,
    transport: bounded,
    workflows: createClient(WorkflowService, bounded),
    templates: createClient(TemplateService, bounded),
    sagas: createClient(SagaCoordinationService, bounded),
    tasks: createClient(TaskService, bounded),
    access: createClient(AccessService, bounded),
    close: () => sessions.abort(new Error("the command is over")),
  };
}
