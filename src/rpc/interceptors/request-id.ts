/**
 * `request_id` of mutations: a repeated call gets the first answer and the header `idempotent-replayed: true`; twins at once
 * make one effect and equal answers; another payload under the same id is refused. A refusal is not kept: the same call may
 * succeed later. The header `idempotency-key` stands for `request_id` where the message names none.
 *
 * Not for the rpcs that start executions: there the id is a unique index of the execution's own row, which also holds
 * across a crash between the work and its answer. (A batch of them keeps its answer here, and its items their ids there.)
 */
import { createHash, createHmac } from "node:crypto";
import { type DescMethod, fromBinary, type Message, type MessageShape, toBinary, toJson } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Interceptor, UnaryRequest, UnaryResponse } from "@connectrpc/connect";
import type { Clock } from "../../base/clock.ts";
import { AppError, messageOf, violationsError } from "../../base/errors.ts";
import { canonicalJson, type Json } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import type { IdempotencyRepository, Taken } from "../../store/idempotency-repository.ts";
import { callerOf, replyKey } from "./call.ts";
import { methodName } from "./policy.ts";

export interface RequestIdOptions {
  readonly keys: IdempotencyRepository;
  /** Of the fingerprints of requests that carry a secret: a plain hash could be found again by trying values. */
  readonly fingerprintKey: Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
}

/** They keep their request ids themselves. */
const ownIds: ReadonlySet<string> = new Set(["StartExecution", "StartExecutionAndWatch", "RerunExecution", "StartSaga"]);
const renewMs = 2_000;
/** How often a twin looks for the answer it waits for. */
const lookMs = 50;

export function createRequestIds(options: RequestIdOptions): Interceptor {
  return (next) => async (request) => {
    if (request.stream || !keepsAnswers(request.method)) return next(request);
    const message = request.message as Message & { requestId: string; validateOnly?: boolean };
    const requestId = message.requestId || idInHeader(request.header);
    if (requestId === undefined || message.validateOnly === true) return next(request);
    const taken = await take(options, request, requestId);
    switch (taken.kind) {
      case "answered":
        return replay(request, taken.response);
      case "reused":
        throw new AppError("REQUEST_ID_REUSED", "this request_id was used for another request; use a new one for a new request", { metadata: { requestId } });
      case "mine":
        return await work(options, taken, request, () => next(request));
      default:
        return taken satisfies never;
    }
  };
}

function keepsAnswers(method: DescMethod): boolean {
  if (method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS || ownIds.has(method.name)) return false;
  return method.input.fields.some((field) => field.name === "request_id");
}

/** Waits while a twin is at work, as long as this call may take. */
async function take({ keys, clock, fingerprintKey }: RequestIdOptions, request: UnaryRequest, requestId: string): Promise<Exclude<Taken, { kind: "pending" }>> {
  const caller = callerOf({ values: request.contextValues });
  const fingerprint = fingerprintOf(request, fingerprintKey);
  for (;;) {
    const taken = await keys.take(caller, methodName(request.method), requestId, fingerprint);
    if (taken.kind !== "pending") return taken;
    await clock.sleep(lookMs, request.signal);
  }
}

async function work<Answer extends { readonly stream: boolean; readonly message: unknown }>(
  { clock, log }: RequestIdOptions,
  taken: Extract<Taken, { kind: "mine" }>,
  request: UnaryRequest,
  run: () => Promise<Answer>,
): Promise<Answer> {
  const over = new AbortController();
  const complain = (error: unknown): void => log.warn({ method: request.method.name, error: messageOf(error) }, "the answer of a request id could not be kept");
  const renewing = (async () => {
    while (!over.signal.aborted) {
      await clock.sleep(renewMs, over.signal).catch(() => undefined);
      if (!over.signal.aborted) await taken.renew().catch(complain);
    }
  })();
  try {
    const response = await run();
    // The work is done whatever becomes of its record, so the caller gets the answer.
    await taken.answer(toBinary(request.method.output, response.message as MessageShape<typeof request.method.output>)).catch(complain);
    return response;
  } catch (error) {
    await taken.giveBack().catch(complain);
    throw error;
  } finally {
    over.abort();
    await renewing;
  }
}

function replay(request: UnaryRequest, response: Uint8Array): UnaryResponse {
  const { header, trailer } = request.contextValues.get(replyKey) ?? { header: new Headers(), trailer: new Headers() };
  header.set("idempotent-replayed", "true");
  return {
    stream: false,
    service: request.service,
    method: request.method,
    header,
    trailer,
    message: fromBinary(request.method.output, response),
  };
}

/** Equal for equal requests, in whichever order a client writes the entries of a map. */
function fingerprintOf(request: UnaryRequest, key: Uint8Array): Buffer {
  const { requestId: _, ...wish } = toJson(request.method.input, request.message) as { [key: string]: Json };
  const isSecret = request.method.input.fields.some((field) => field.proto.options?.debugRedact === true);
  return (isSecret ? createHmac("sha256", key) : createHash("sha256")).update(canonicalJson(wish)).digest();
}

/** A bare or a quoted key, of the form that a request id has. */
export function idInHeader(header: Headers): string | undefined {
  const text = header.get("idempotency-key")?.trim();
  if (text === undefined || text === "") return undefined;
  const id = text.startsWith('"') && text.endsWith('"') && text.length >= 2 ? text.slice(1, -1) : text;
  if (id !== "" && id.length <= limits.requestIdCharactersMax && /^[!-~]*$/.test(id)) return id;
  const description = `must have 1 to ${limits.requestIdCharactersMax} visible ASCII characters`;
  throw violationsError([{ field: "idempotency-key", reason: "VALIDATION_FAILED", description }]);
}
