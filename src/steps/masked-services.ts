/** The services as one attempt sees them: what others say passes its mask before the step, or a log, gets it; log lines say whose they are. */
import type { Json, JsonObject } from "../base/json.ts";
import type { Log } from "../base/log.ts";
import type { Mask } from "../base/mask.ts";
import type { AttemptAbout } from "./attempt-about.ts";
import type { EgressOutcome, EgressRequest, StepServices } from "./step-handler.ts";

export function maskedServices(services: StepServices, mask: Mask, about?: AttemptAbout): StepServices {
  const known = about === undefined ? {} : { about };
  return {
    ...services,
    http: { request: async (request) => maskAnswer(await services.http.request({ ...withMaskedSink(request, mask), ...known }), mask) },
    grpc: {
      call: async (call) => masked(await services.grpc.call({ ...call, ...known }), mask),
      // Messages are encoded: their texts have lengths before them. Whoever decodes them hands on an outcome that is masked then.
      exchange: async (request) => {
        const outcome = await services.grpc.exchange({ ...request, ...known });
        return outcome.kind === "answered" ? { ...outcome, status: masked(outcome.status, mask) } : outcome;
      },
    },
    log: maskedLog(about === undefined ? services.log : services.log.child(about), mask),
  };
}

function masked<Value>(value: Value, mask: Mask): Value {
  return mask.json(value as Json) as Value;
}

/** Before the body is read: what is cut to an excerpt or decoded later would no longer be found. */
function maskAnswer(outcome: EgressOutcome, mask: Mask): EgressOutcome {
  if (outcome.kind === "failed") return outcome;
  const headers = mask.json(outcome.headers as JsonObject) as Readonly<Record<string, string>>;
  return { ...outcome, headers, body: mask.bytes(outcome.body) };
}

/** What a sink learns of an answer is masked, the bytes that pass through it are not: a file that is changed is none any more. */
function withMaskedSink(request: EgressRequest, mask: Mask): EgressRequest {
  const { sink } = request;
  if (!sink) return request;
  return { ...request, sink: { ...sink, take: (head, bytes) => sink.take(masked(head, mask), bytes) } };
}

function maskedLog(log: Log, mask: Mask): Log {
  const fieldsOf = (fields: object): object => mask.json(plainOf(fields));
  return {
    debug: (fields, message) => log.debug(fieldsOf(fields), mask.text(message)),
    info: (fields, message) => log.info(fieldsOf(fields), mask.text(message)),
    warn: (fields, message) => log.warn(fieldsOf(fields), mask.text(message)),
    error: (fields, message) => log.error(fieldsOf(fields), mask.text(message)),
    child: (fields) => maskedLog(log.child(fieldsOf(fields)), mask),
  };
}

/** Fields as JSON. An Error, which JSON would leave empty, by its name and message: its stack repeats the message. */
function plainOf(fields: object): JsonObject {
  const text = JSON.stringify(fields, (_, value: unknown) => {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    return typeof value === "bigint" ? String(value) : value;
  });
  return JSON.parse(text) as { [key: string]: Json };
}
