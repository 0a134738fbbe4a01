/** A service that answers as a test says, over real HTTP/2: what a real one does only when something is wrong. */
import { createServer, type Http2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";

export interface FakeService {
  readonly url: string;
  readonly port: number;
  /** Connections that have been made. */
  readonly connections: number;
  /** Cuts every connection. */
  cut(): void;
  close(): Promise<void>;
}

export async function startFake(service: Partial<ServiceImpl<typeof WorkflowService>>): Promise<FakeService> {
  const sessions = new Set<Http2Session>();
  let connections = 0;
  const server = createServer(connectNodeAdapter({ routes: (router) => router.service(WorkflowService, service) }));
  server.on("session", (session) => {
    connections += 1;
    sessions.add(session);
    session.on("error", () => undefined).on("close", () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const cut = (): void => {
    for (const session of sessions) session.destroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get connections() {
      return connections;
    },
    cut,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cut();
      await closed;
    },
  };
}

/** A refusal as the service words it. */
export function refused(code: Code, reason: string, retryAfterMs?: number): ConnectError {
  const info = { desc: ErrorInfoSchema, value: { reason, domain: "workflow.pyairtable.dev", metadata: {} } };
  const retry = { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(retryAfterMs ?? 0) } };
  return new ConnectError("as the test wants it", code, undefined, retryAfterMs === undefined ? [info] : [info, retry]);
}

export const draining = (retryAfterMs = 10): ConnectError => refused(Code.Unavailable, "SERVER_DRAINING", retryAfterMs);
