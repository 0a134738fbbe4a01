/**
 * The world outside: an HTTP server that writes down every request and counts effects by Idempotency-Key. What it answers is
 * scripted by path; without a script it is 200 with a small JSON body.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface LedgerCall {
  readonly method: string;
  readonly path: string;
  /** Value of Idempotency-Key as sent, or "". */
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  /** When it arrived, on this process's monotonic clock in milliseconds. */
  readonly at: number;
  /** What was answered; 0 while hanging or when the caller hung up. */
  status: number;
  /** The caller closed the connection before an answer. */
  aborted: boolean;
}

export interface Reply {
  readonly status: number;
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly delayMs?: number;
}

/** A status, a reply, or "hang" = no answer until released. The last one of a list repeats. */
export type Script = readonly (number | Reply | "hang")[] | ((call: LedgerCall, nth: number) => Reply | Promise<Reply>);

export interface Ledger {
  readonly url: string;
  /** Entry for PAWF_EGRESS_ALLOW. */
  readonly address: string;
  readonly calls: readonly LedgerCall[];
  script(path: string, script: Script): void;
  callsTo(path: string): readonly LedgerCall[];
  /** Resolves when `path` was called `count` times. */
  called(path: string, count?: number): Promise<readonly LedgerCall[]>;
  /** Lets everything that hangs answer 200. */
  release(): void;
  close(): Promise<void>;
}

export async function startLedger(): Promise<Ledger> {
  const calls: LedgerCall[] = [];
  const scripts = new Map<string, Script>();
  const waiters = new Set<() => void>();
  const hanging = new Set<() => void>();
  const callsTo = (path: string): LedgerCall[] => calls.filter((call) => call.path === path);

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? "/", "http://ledger").pathname;
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const call: LedgerCall = {
      method: request.method ?? "",
      path,
      key: headers["idempotency-key"] ?? "",
      headers,
      body: await bodyOf(request),
      at: performance.now(),
      status: 0,
      aborted: false,
    };
    const nth = callsTo(path).length;
    calls.push(call);
    for (const waiter of waiters) waiter();
    response.once("close", () => (call.aborted = !response.writableEnded));
    const reply = await replyOf(scripts.get(path), call, nth);
    if (reply.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, reply.delayMs));
    if (response.destroyed) return;
    call.status = reply.status;
    response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
    response.end(reply.raw ?? JSON.stringify(reply.body ?? { ok: reply.status < 400, path, nth: nth + 1 }));
  }
  function replyOf(script: Script | undefined, call: LedgerCall, nth: number): Reply | Promise<Reply> {
    if (script === undefined) return { status: 200 };
    if (typeof script === "function") return script(call, nth);
    const step = script[Math.min(nth, script.length - 1)] ?? 200;
    if (step === "hang") return new Promise((resolve) => hanging.add(() => resolve({ status: 200 })));
    return typeof step === "number" ? { status: step } : step;
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    address: `127.0.0.1:${port}`,
    calls,
    script: (path, script) => void scripts.set(path, script),
    callsTo,
    called(path, count = 1) {
      return new Promise((resolve) => {
        const look = (): void => {
          if (callsTo(path).length < count) return;
          waiters.delete(look);
          resolve(callsTo(path));
        };
        waiters.add(look);
        look();
      });
    },
    release() {
      for (const answer of hanging) answer();
      hanging.clear();
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
