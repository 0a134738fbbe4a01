/**
 * Every call of an rpc that takes a request id runs as one change (`base/change.ts`). What its rpc writes by repositories is one
 * transaction, opened by the first of them and committed here together with its line in the audit log and the answer that repeats of the call get: if the
 * process dies, or the answer cannot be stored, nothing of it stands. What an rpc tells executions instead is durable by
 * their ledgers, which know the change's key; a repeat goes through the rpc again and changes nothing there.
 *
 * With a `request_id` (or the header `idempotency-key`, where the message names none) a call can be repeated: the repeat gets
 * the first answer and the header `idempotent-replayed: true`; twins at once make one effect and equal answers; another
 * payload under the same id is refused. A refusal is not kept: the same call may succeed later.
 *
 * The rpcs that start executions keep their ids themselves, in a unique index of the execution's own row.
 */
import { createHash, createHmac } from "node:crypto";
import { type DescMethod, type Message, toJson } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Interceptor, UnaryRequest, UnaryResponse } from "@connectrpc/connect";
import type { Caller } from "../../base/caller.ts";
import type { Clock } from "../../base/clock.ts";
import { AppError, messageOf, violationsError } from "../../base/errors.ts";
import { canonicalJson, type Json } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import type { AuditRepository } from "../../store/audit-repository.ts";
import type { IdempotencyRepository, Taken, TakenKey } from "../../store/idempotency-repository.ts";
import type { Units } from "../../store/unit-of-work.ts";
import { auditedCall } from "./audited-call.ts";
import { callerKey, replyKey } from "./call.ts";
import { type AnswerOf, keptAnswer, readAnswer } from "./kept-answer.ts";
import { methodName } from "./policy.ts";

export interface ChangeOptions {
  readonly keys: IdempotencyRepository;
  readonly units: Units;
  readonly audit: Pick<AuditRepository, "write">;
  /** Of the fingerprints of requests that carry a secret: a plain hash could be found again by trying values. */
  readonly fingerprintKey: Uint8Array;
  /** Seals answers that hold one while they are kept. */
  readonly answerKey: Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
}

/** They keep their request ids themselves. */
const ownIds: ReadonlySet<string> = new Set(["StartExecution", "StartExecutionAndWatch", "StartSaga"]);
const renewMs = 2_000;
/** How often a twin looks for the answer it waits for. */
const lookMs = 50;

type Wish = Message & { readonly requestId?: string; readonly validateOnly?: boolean };

export function createChanges(options: ChangeOptions): Interceptor {
  return (next) => async (request) => {
    const caller = request.contextValues.get(callerKey);
    const wish = request.message as Wish;
    if (request.stream || !caller || !isChange(request.method) || wish.validateOnly === true) return next(request);
    const requestId = wish.requestId || idInHeader(request.header);
    if (requestId === undefined) return await work(options, caller, request, undefined, () => next(request));
    const fingerprint = fingerprintOf(request, options.fingerprintKey);
    const taken = await take(options, caller, request, requestId, fingerprint);
    switch (taken.kind) {
      case "answered":
        return replay(request, readAnswer(options.answerKey, answerOf(caller, request, requestId), taken.response));
      case "reused":
        throw new AppError("REQUEST_ID_REUSED", "this request_id was used for another request; use a new one for a new request", { metadata: { requestId } });
      case "mine": {
        const own = {
          taken: taken.key,
          name: changeName(request.method, requestId, fingerprint),
          keep: (answer: Message) => keptAnswer(options.answerKey, answerOf(caller, request, requestId), answer),
        };
        return await work(options, caller, request, own, () => next(request));
      }
      default:
        return taken satisfies never;
    }
  };
}

/** Asked for each call, so the answer is kept. */
const changes = new Map<DescMethod, boolean>();

function isChange(method: DescMethod): boolean {
  let answer = changes.get(method);
  if (answer === undefined) {
    const mayChange = method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
    answer = mayChange && !ownIds.has(method.name) && method.input.fields.some((field) => field.name === "request_id");
    changes.set(method, answer);
  }
  return answer;
}

/** Waits while a twin is at work, as long as this call may take. */
async function take(
  { keys, clock }: ChangeOptions,
  caller: Caller,
  request: UnaryRequest,
  requestId: string,
  fingerprint: Buffer,
): Promise<Exclude<Taken, { kind: "pending" }>> {
  for (;;) {
    const taken = await keys.take(caller, methodName(request.method), requestId, fingerprint);
    if (taken.kind !== "pending") return taken;
    await clock.sleep(lookMs, request.signal);
  }
}

interface OwnKey {
  readonly taken: TakenKey;
  readonly name: string;
  readonly keep: (answer: Message) => Uint8Array;
}

function answerOf({ tenantId }: Caller, { method }: UnaryRequest, requestId: string): AnswerOf {
  return { method, tenantId, requestId };
}

async function work(
  { audit, clock, log, units }: ChangeOptions,
  caller: Caller,
  request: UnaryRequest,
  own: OwnKey | undefined,
  run: () => Promise<UnaryResponse | Awaited<ReturnType<ReturnType<Interceptor>>>>,
): Promise<Awaited<ReturnType<ReturnType<Interceptor>>>> {
  const unit = units.begin(caller.tenantId, request.signal);
  let isReplay = false;
  const change = {
    key: own?.name,
    method: request.method.name,
    unit,
    noteReplay: () => void (isReplay = true),
    plan: own?.taken.plan ?? ((make) => make()),
  } satisfies Caller["change"];
  request.contextValues.set(callerKey, { ...caller, change });
  const renewing = own && renew(own.taken, clock, (error) => complain(log, request.method, error));
  try {
    const response = await run();
    const bytes = own?.keep(response.message as Message);
    if (unit.isOpen) {
      await unit.run(async (client) => {
        await audit.write(client, caller, auditedCall(request, response.message as Message));
        if (own && bytes) await own.taken.answerIn(client, bytes);
      });
      await unit.commit();
    } else {
      await unit.commit();
      if (own && bytes) await keep(own.taken, bytes, (error) => complain(log, request.method, error));
    }
    return isReplay ? replay(request, response.message as Message) : response;
  } catch (error) {
    await unit.rollback();
    // What may pass may also have happened: whoever repeats the call goes on with it, and with nothing else.
    const isRefusal = error instanceof AppError && error.code !== "UNAVAILABLE" && error.code !== "INTERNAL" && error.code !== "DEADLINE_EXCEEDED";
    await (isRefusal ? own?.taken.giveBack() : own?.taken.letGo())?.catch((failure: unknown) => complain(log, request.method, failure));
    throw error;
  } finally {
    await renewing?.();
  }
}

/** The executions were told whatever becomes of this record, so the caller gets the answer. */
async function keep(taken: TakenKey, answer: Uint8Array, complain: (error: unknown) => void): Promise<void> {
  await taken.answer(answer).catch((error: unknown) => {
    complain(error);
    return taken.letGo().catch(complain);
  });
}

/** Answers what ends it. */
function renew(taken: TakenKey, clock: Clock, complain: (error: unknown) => void): () => Promise<void> {
  const over = new AbortController();
  const renewing = (async () => {
    while (!over.signal.aborted) {
      await clock.sleep(renewMs, over.signal).catch(() => undefined);
      if (!over.signal.aborted) await taken.renew().catch(complain);
    }
  })();
  return async () => {
    over.abort("the call is over");
    await renewing;
  };
}

function complain(log: Log, method: DescMethod, error: unknown): void {
  log.warn({ method: method.name, error: messageOf(error) }, "the answer of a request id could not be kept");
}

function replay(request: UnaryRequest, message: Message): UnaryResponse {
  const { header, trailer } = request.contextValues.get(replyKey) ?? { header: new Headers(), trailer: new Headers() };
  header.set("idempotent-replayed", "true");
  return { stream: false, service: request.service, method: request.method, header, trailer, message };
}

/** Equal for equal requests, in whichever order a client writes the entries of a map. */
function fingerprintOf(request: UnaryRequest, key: Uint8Array): Buffer {
  const { requestId: _, ...wish } = toJson(request.method.input, request.message) as { [key: string]: Json };
  const isSecret = request.method.input.fields.some((field) => field.proto.options?.debugRedact === true);
  return (isSecret ? createHmac("sha256", key) : createHash("sha256")).update(canonicalJson(wish)).digest();
}

/** The payload is part of it: when the id is forgotten after days and used again, that is another change. */
function changeName(method: DescMethod, requestId: string, fingerprint: Buffer): string {
  return createHash("sha256").update(`${method.name}\n${requestId}\n`).update(fingerprint).digest("base64url").slice(0, 22);
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
