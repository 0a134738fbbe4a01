/**
 * The way to the service that everything of this SDK takes: one HTTP/2 connection, a key with each call, deadlines, retries and
 * the one error. Generated clients of any service of the contract work over its `transport`.
 */
import type { SecureContextOptions } from "node:tls";
import { type DescMessage, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Interceptor, StreamResponse, Transport } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { ProgramError, toApiError, WorkflowApiError } from "./api-error.ts";
import { withRetries } from "./call-retry.ts";
import { defaultTimeoutMs, withRequestId } from "./call-rules.ts";
import { linkSignals } from "./link-signals.ts";

export type ApiKey = string | (() => string | Promise<string>);

export interface ConnectionOptions {
  /** `http://…` or `https://…`: the scheme decides on TLS. [PAWF_URL] */
  readonly url?: string;
  /** A function is asked before each try of each call, so a key that rotates can be renewed; what it throws, the call throws. [PAWF_API_KEY] */
  readonly apiKey?: ApiKey;
  /** For `https://`: own certificate authorities, client certificates. */
  readonly tls?: Pick<SecureContextOptions, "ca" | "cert" | "key"> & { readonly servername?: string };
  /** Go with every call. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Connection {
  readonly transport: Transport;
  /** Aborts when it is closed. */
  readonly closed: AbortSignal;
  /** Ends what is under way with code CANCELED; further calls are refused. */
  close(): void;
}

/** A connection that is broken without a word is given up after both. */
const pingAfterMs = 20_000;
const pingTimeoutMs = 10_000;

/** Nothing is sent before the first call. Throws when the URL or the key is missing or unusable. */
export function openConnection(options: ConnectionOptions = {}): Connection {
  const url = checkedUrl(options.url ?? process.env["PAWF_URL"]);
  const apiKey = options.apiKey ?? process.env["PAWF_API_KEY"];
  if (apiKey === undefined || apiKey === "") throw new Error("there is no API key: give apiKey, or set PAWF_API_KEY");
  const pings = { pingIntervalMs: pingAfterMs, pingTimeoutMs };
  const sessions = new Http2SessionManager(url, pings, options.tls);
  const inner = createGrpcTransport({ baseUrl: url, sessionManager: sessions, interceptors: [withHeaders(apiKey, options.headers ?? {})] });
  const closing = new AbortController();
  return {
    transport: ruled(inner, closing.signal),
    closed: closing.signal,
    close() {
      const reason = new WorkflowApiError("this client is closed", { code: "CANCELED" });
      closing.abort(reason);
      sessions.abort(reason);
    },
  };
}

function checkedUrl(text: string | undefined): string {
  if (text === undefined || text === "") throw new Error("there is no URL of the service: give url, or set PAWF_URL, for example http://localhost:8006");
  const url = URL.parse(text);
  if (url?.protocol !== "http:" && url?.protocol !== "https:") throw new Error(`"${text}" is no URL of the service: it begins with http:// or https://`);
  if (url.username !== "" || url.password !== "") throw new Error("the URL of the service holds no credentials: give apiKey, or set PAWF_API_KEY");
  return text;
}

/** Runs for each try, so an asynchronous key is as fresh as it can be. */
function withHeaders(apiKey: ApiKey, headers: Readonly<Record<string, string>>): Interceptor {
  return (next) => async (request) => {
    for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
    request.header.set("authorization", `Bearer ${typeof apiKey === "string" ? apiKey : await askedOf(apiKey)}`);
    return await next(request);
  };
}

async function askedOf(apiKey: Exclude<ApiKey, string>): Promise<string> {
  try {
    return await apiKey();
  } catch (thrown) {
    throw new ProgramError(thrown);
  }
}

/** The transport with the rules of the contract. Streams are not tried again here: whoever reads one knows from where (run-watch.ts). */
function ruled(inner: Transport, closed: AbortSignal): Transport {
  return {
    async unary(method, signal, timeoutMs = defaultTimeoutMs(method), header, input, contextValues) {
      const message = withRequestId(method.input, input);
      using linked = linkSignals(signal, closed);
      const call = (leftMs: number | undefined) =>
        inner.unary(method, linked.signal, leftMs, header, message as typeof input, contextValues).catch((thrown: unknown) => {
          // Connect tells what cannot be encoded as it does a stream that was reset.
          toBinary(method.input, message);
          throw thrown;
        });
      return await withRetries(call, { timeoutMs, signal: linked.signal });
    },

    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const linked = linkSignals(signal, closed);
      try {
        linked.signal.throwIfAborted();
        const messages = await encodable(method.input, input);
        const response = await inner.stream(method, linked.signal, timeoutMs, header, createAsyncIterable(messages), contextValues);
        return { ...response, message: told(response.message, linked) };
      } catch (thrown) {
        linked[Symbol.dispose]();
        throw linked.signal.aborted ? linked.signal.reason : toApiError(thrown);
      }
    },
  };
}

/** Streams of the contract take one message, so it can be looked at before the call. Throws when it cannot be sent. */
async function encodable<Desc extends DescMessage>(schema: Desc, messages: AsyncIterable<MessageInitShape<Desc>>): Promise<MessageInitShape<Desc>[]> {
  const whole: MessageShape<Desc>[] = [];
  for await (const message of messages) whole.push(withRequestId(schema, message));
  for (const message of whole) toBinary(schema, message);
  return whole as MessageInitShape<Desc>[];
}

async function* told<Messages extends StreamResponse["message"]>(messages: Messages, linked: ReturnType<typeof linkSignals>): AsyncIterable<never> {
  try {
    yield* messages as AsyncIterable<never>;
  } catch (thrown) {
    throw linked.signal.aborted ? linked.signal.reason : toApiError(thrown);
  } finally {
    linked[Symbol.dispose]();
  }
}
