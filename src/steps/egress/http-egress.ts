/**
 * The one HTTP client of all steps. It answers with an outcome and never throws. What happened to a request decides
 * whether its effect may stand, so the client watches the one moment that matters: `onRequestStart`, called directly
 * before the first byte is written. A failure before it surely had no effect, one after it may have had one.
 */
import { Readable } from "node:stream";
import { Agent, type Dispatcher } from "undici";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { signalFailure, thrownFailure } from "../signal-failure.ts";
import type { AnswerSink, EgressBody, EgressOutcome, EgressRequest, HttpEgress } from "../step-handler.ts";
import { parseAddress } from "./address.ts";
import { type BodyStream, streamBody } from "./body-stream.ts";
import { targetOf } from "./describe-target.ts";
import { createEgressRules, type EgressRules, hostnameOf, type LookUp, noConnection } from "./egress-rules.ts";
import { acceptedEncodings, type BodyCollector, collectBody } from "./response-body.ts";
import { createTenantRules, type RulesOf, type TenantAllow, type TenantRules } from "./tenant-rules.ts";
import { createVettedConnector, EgressRefusedError, systemLookUp } from "./vetted-connector.ts";

export interface HttpEgressOptions {
  /** Private targets an operator opens, entries of PAWF_EGRESS_ALLOW; see `EgressRuleOptions`. */
  readonly allow: readonly string[];
  /** Ports open on public addresses beside 80, 443, 8080, 8443. */
  readonly ports?: readonly number[];
  /** Our own ports: closed on every address of this machine, even if `allow` opens them. */
  readonly forbiddenPorts?: readonly number[];
  /** Targets that stay closed whatever `allow` says, for example the database as `db.internal:5432`. */
  readonly forbidden?: readonly string[];
  /** What a tenant may reach besides [nothing]. */
  readonly tenantAllow?: TenantAllow;
  readonly log: Log;
  readonly clock: Clock;
  /** Look-up, TCP and TLS handshake together [5,000]. */
  readonly connectTimeoutMs?: number;
  /** Open connections to one origin; further requests queue, their deadline runs on [64]. */
  readonly connectionsPerOrigin?: number;
  readonly lookUp?: LookUp;
}

/** An egress that holds connections and has to be closed. */
export interface ClosableHttpEgress extends HttpEgress {
  /** What everybody may reach; the gRPC client goes by the same. */
  readonly rules: EgressRules;
  /** What one tenant may reach. */
  readonly rulesOf: RulesOf;
  /** The tenant's own list was changed. */
  forgetTenant(tenantId: string): void;
  /** Closes one more port of this machine: the one that was free when the server asked for any. */
  forbidPort(port: number): void;
  /** Ends all connections; requests under way fail with unknown outcome. May be called twice. */
  close(): Promise<void>;
}

/** Header block of an answer, 16 KiB. */
const responseHeaderBytesMax = 16 * 1024;
/** Hard stop if a caller's signal never fires: the longest attempt an HTTP step may ask for, and a minute. */
const silenceMsMax = 16 * 60_000;
/** Pools of connections: one for all tenants without targets of their own, one for each list of such targets. */
const agentsMax = 200;
const closedAgent = new Agent();
void closedAgent.destroy();
const redirectStatuses = new Set([301, 302, 303, 307, 308]);

/** Throws on an `allow` or `forbidden` entry that cannot be read. */
export function createHttpEgress(options: HttpEgressOptions): ClosableHttpEgress {
  const { log, clock } = options;
  const lookUp = options.lookUp ?? systemLookUp;
  const forbiddenPorts = new Set(options.forbiddenPorts);
  const shared = { allow: options.allow, ports: options.ports ?? [], forbiddenPorts, forbidden: options.forbidden ?? [] };
  const rules = createEgressRules(shared, lookUp);
  const { rulesOf, forget } = createTenantRules({ shared, sharedRules: rules, tenantAllow: options.tenantAllow, lookUp, clock, log });
  const agents = new Map<string, Agent>();
  let closing: Promise<void> | undefined;

  /** Connections are shared only by tenants that may reach the same. */
  function agentOf({ rules: judged, key }: TenantRules): Agent {
    const agent = agents.get(key) ?? newAgent(judged);
    agents.delete(key);
    agents.set(key, agent);
    if (agents.size > agentsMax) {
      const oldest = agents.keys().next().value as string;
      void agents.get(oldest)?.close();
      agents.delete(oldest);
    }
    return agent;
  }

  function newAgent(judged: EgressRules): Agent {
    return new Agent({
      connect: createVettedConnector({ rules: judged, lookUp, clock, connectTimeoutMs: options.connectTimeoutMs ?? 5_000 }),
      connections: options.connectionsPerOrigin ?? 64,
      allowH2: false,
      maxHeaderSize: responseHeaderBytesMax,
      headersTimeout: silenceMsMax,
      bodyTimeout: silenceMsMax,
    });
  }

  return {
    rules,
    rulesOf,
    forgetTenant: forget,
    forbidPort: (port) => void forbiddenPorts.add(port),
    async request(request) {
      const startedAt = clock.monotonic();
      const own = await rulesOf(request.tenantId);
      const outcome = await follow(closing === undefined ? agentOf(own) : closedAgent, own.rules, log, request);
      const durationMs = Math.round(clock.monotonic() - startedAt);
      const said = outcome.kind === "answered" ? { status: outcome.status } : { failure: outcome.failure.name, outcome: outcome.outcome };
      log.debug({ ...request.about, tenantId: request.tenantId, method: request.method, target: targetOf(request), durationMs, ...said }, "request sent out");
      return outcome;
    },
    close() {
      closing ??= Promise.all([...agents.values()].map((agent) => agent.destroy(null))).then(() => undefined);
      return closing;
    },
  };
}

/** The request, and the redirects it may follow: same origin, each hop judged anew. */
async function follow(agent: Agent, rules: EgressRules, log: Log, first: EgressRequest): Promise<EgressOutcome> {
  let request = first;
  for (let hop = 0; ; hop++) {
    const url = readUrl(rules, log, request);
    if (!(url instanceof URL)) return hop === 0 ? url : { ...url, outcome: "unknown" };
    const outcome = await exchange(agent, log, url, request);
    if (outcome.kind === "failed") return hop === 0 ? outcome : { ...outcome, outcome: "unknown" };
    const location = outcome.headers["location"];
    if (first.redirectsMax === 0 || !redirectStatuses.has(outcome.status) || location === undefined) return outcome;
    if (hop === first.redirectsMax) return redirectFailure(request, `more than ${first.redirectsMax} redirects`);
    const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    if (next?.origin !== url.origin) return redirectFailure(request, "a redirect to another origin, which is never followed");
    request = redirected(request, outcome.status, next);
  }
}

function readUrl(rules: EgressRules, log: Log, request: EgressRequest): URL | (EgressOutcome & { kind: "failed" }) {
  const url = URL.canParse(request.url) ? new URL(request.url) : undefined;
  const refusal = url ? rules.refusalOf(url) : "is no URL";
  if (url && refusal === undefined) return url;
  log.info({ ...request.about, tenantId: request.tenantId, target: targetOf(request), refusal }, "egress refused before look-up");
  return { kind: "failed", outcome: "failed", failure: egressFailure(request) };
}

/** 303 always becomes a GET, and so does a redirected POST, as every client does; 307 and 308 repeat the request. */
function redirected(request: EgressRequest, status: number, next: URL): EgressRequest {
  const becomesGet = (status === 303 && request.method !== "HEAD") || (status < 303 && request.method === "POST");
  if (!becomesGet) return { ...request, url: next.href };
  const { body: _, ...rest } = request;
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !/^content-/i.test(name)));
  return { ...rest, url: next.href, method: "GET", headers };
}

/** One request on the wire and its answer. */
function exchange(agent: Agent, log: Log, url: URL, request: EgressRequest): Promise<EgressOutcome> {
  const { promise, resolve } = Promise.withResolvers<EgressOutcome>();
  let controller: Dispatcher.DispatchController | undefined;
  let settled = false;
  let status = 0;
  let headers: Record<string, string> = {};
  let body: BodyCollector | undefined;
  let stream: BodyStream | undefined;
  /** Never rejects. */
  let taken: Promise<void> | undefined;

  function settle(outcome: EgressOutcome): void {
    if (settled) return;
    settled = true;
    request.signal.removeEventListener("abort", onAbort);
    if (outcome.kind === "failed") {
      controller?.abort(stopped);
      stream?.breakOff(outcome.failure);
    }
    if (taken === undefined) resolve(outcome);
    else void taken.then(() => resolve(outcome));
  }
  function settleFailed(reason: Failure): void {
    settle({ kind: "failed", failure: reason, outcome: controller ? "unknown" : "failed" });
  }
  function onAbort(): void {
    settleFailed(signalFailure(request.signal));
  }
  function pour(sink: AnswerSink): void {
    const opened = streamBody(headers, sink.bytesMax, () => controller?.resume());
    if (!opened.ok) return settleFailed(opened.fault);
    stream = opened.value;
    taken = keep(sink, opened.value);
  }
  async function keep(sink: AnswerSink, { bytes }: BodyStream): Promise<void> {
    try {
      const kept = await sink.take({ status, headers }, bytes);
      if (kept.ok) settle({ kind: "answered", status, headers, body: Buffer.alloc(0) });
      else settleFailed(kept.fault);
    } catch (thrown) {
      settleFailed(takingFailure(thrown, log, request));
    }
  }

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      if (settled) return started.abort(stopped); // aborted while it waited for a connection
      controller = started;
    },
    onResponseStart(_, statusCode, rawHeaders) {
      if (settled || statusCode < 200) return;
      status = statusCode;
      headers = joinHeaders(rawHeaders);
      if (request.sink?.accepts({ status, headers })) return pour(request.sink);
      const collecting = collectBody(request.method === "HEAD" ? {} : headers, request.responseBytesMax);
      if (!collecting.ok) return settleFailed(collecting.fault);
      body = collecting.value;
    },
    onResponseData(running, chunk) {
      const tooLarge = settled ? undefined : (stream ?? body)?.add(chunk);
      if (tooLarge) settleFailed(tooLarge);
      else if (stream?.isFull()) running.pause();
    },
    onResponseEnd() {
      stream?.end();
      void body?.finish().then((decoded) => {
        if (decoded.ok) settle({ kind: "answered", status, headers, body: decoded.value });
        else settleFailed(decoded.fault);
      });
    },
    onResponseError(_, error) {
      if (settled) return;
      const level = error instanceof EgressRefusedError ? "info" : "debug";
      log[level](
        { ...request.about, tenantId: request.tenantId, target: targetOf(request), sent: controller !== undefined, error: messageOf(error) },
        "request failed",
      );
      settleFailed(failureOfError(error, request, controller !== undefined));
    },
  };

  if (request.signal.aborted) {
    onAbort();
    return promise;
  }
  request.signal.addEventListener("abort", onAbort, { once: true });
  const named = Object.keys(request.headers).some((name) => name.toLowerCase() === "accept-encoding");
  const sent = sentBody(request.body, settleFailed);
  try {
    agent.dispatch(
      {
        origin: url.origin,
        path: url.pathname + url.search,
        method: request.method as Dispatcher.HttpMethod,
        headers: { ...request.headers, ...sent.headers, ...(named ? {} : { "accept-encoding": acceptedEncodings }) },
        body: sent.body,
      },
      handler,
    );
  } catch (error) {
    settleFailed(failure("NETWORK", `${describeRequest(request)} could not be sent: ${messageOf(error)}`));
  }
  return promise;
}

/** A body as undici takes it. A stream goes under its length; what breaks it off is the request's failure. */
function sentBody(body: EgressRequest["body"], onFault: (fault: Failure) => void): { body: Buffer | Readable | null; headers: Record<string, string> } {
  if (typeof body !== "object" || !("read" in body)) return { body: body === undefined || body.length === 0 ? null : Buffer.from(body), headers: {} };
  if (body.sizeBytes === 0) return { body: null, headers: {} };
  // Its errors are met by undici; the listener is for a request that never comes to that.
  const stream = Readable.from(readBody(body, onFault), { objectMode: false }).on("error", () => undefined);
  return { body: stream, headers: { "content-length": String(body.sizeBytes) } };
}

async function* readBody(body: EgressBody, onFault: (fault: Failure) => void): AsyncIterable<Uint8Array> {
  try {
    yield* body.read();
  } catch (thrown) {
    onFault(thrownFailure(thrown));
    throw stopped;
  }
}

function takingFailure(thrown: unknown, log: Log, request: EgressRequest): Failure {
  try {
    return thrownFailure(thrown);
  } catch {
    log.error({ ...request.about, tenantId: request.tenantId, target: targetOf(request), error: messageOf(thrown) }, "an answer could not be kept");
    return failure("INTERNAL", `${describeRequest(request)}: the answer could not be kept`);
  }
}

/** Given to undici when we stop a request ourselves; nobody sees it. */
const stopped = new Error("request stopped");

/**
 * A refusal that only says what stands in the URL itself is told. One that follows from what a name resolves to looks like a host
 * that is unknown, or does not answer: else a tenant could ask which names our resolver knows, and where they lead.
 */
function failureOfError(error: Error, request: EgressRequest, sent: boolean): Failure {
  if (error instanceof EgressRefusedError && isLiteral(request.url)) return egressFailure(request);
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "UND_ERR_HEADERS_OVERFLOW") return failure("LIMIT.HEADERS", `${describeRequest(request)}: the answer's headers are larger than 16 KiB`);
  if (!sent) return failure("NETWORK", `${describeRequest(request)}: ${noConnection}`);
  return failure("NETWORK", `${describeRequest(request)}: the connection broke before the answer was complete`);
}

function isLiteral(url: string): boolean {
  return parseAddress(hostnameOf(new URL(url))) !== undefined;
}

/** One sentence for every reason: the difference would map the network behind us. */
function egressFailure(request: EgressRequest): Failure {
  return failure(
    "LIMIT.EGRESS",
    `${describeRequest(request)}: this target is not open to steps; use http or https to a public host, or ask the operator to allow it`,
  );
}

function redirectFailure(request: EgressRequest, met: string): EgressOutcome {
  return { kind: "failed", outcome: "unknown", failure: failure("LIMIT.REDIRECTS", `${describeRequest(request)} met ${met}`) };
}

function describeRequest(request: EgressRequest): string {
  return `${request.method} ${targetOf(request)}`;
}

/** Lower-case names, several values joined. `__proto__` is a legal header name and an illegal surprise. */
function joinHeaders(raw: Record<string, string | string[] | undefined>): Record<string, string> {
  const entries = Object.entries(raw).filter(([name]) => name !== "__proto__");
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), Array.isArray(value) ? value.join(", ") : (value ?? "")]));
}
