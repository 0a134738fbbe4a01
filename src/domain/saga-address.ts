/**
 * Where the operations of a joined step are sent. A participant is known by its address: the target of a gRPC call, scheme
 * with host and port of an HTTP address, the queue of a pulled task.
 */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import type { EnlistedStep } from "./execution-state.ts";

const endpointFields = ["action", "compensation", "confirmation"] as const;
const queueDefault = "default";

/** Addresses of one endpoint (`grpc`, `http` or `pull`); undefined where it is made by an expression. */
function addressOf(endpoint: Json | undefined): string | undefined {
  if (!isJsonObject(endpoint)) return undefined;
  const { grpc, http, pull } = endpoint;
  if (isJsonObject(grpc)) return literal(grpc["target"]);
  if (isJsonObject(http)) return originOf(literal(http["url"]));
  if (isJsonObject(pull)) return literal(pull["task_queue"] ?? "") || queueDefault;
  return undefined;
}

/** All addresses of a SagaStep, each once. */
export function addressesOf(step: JsonObject): string[] {
  return [...new Set(endpointFields.flatMap((field) => addressOf(step[field]) ?? []))];
}

/** The steps with every endpoint at `from` moved to `to`; steps that were not there stay the same objects. */
export function replaceParticipant(steps: readonly EnlistedStep[], from: string, to: string): readonly EnlistedStep[] {
  return steps.map((enlisted) => {
    const moved = endpointFields.flatMap((field) =>
      addressOf(enlisted.step[field]) === from ? [[field, moveEndpoint(enlisted.step[field], to)] as const] : [],
    );
    return moved.length === 0 ? enlisted : { ...enlisted, step: { ...enlisted.step, ...Object.fromEntries(moved) } };
  });
}

function moveEndpoint(endpoint: Json | undefined, to: string): Json {
  if (!isJsonObject(endpoint)) return null;
  const { grpc, http, pull } = endpoint;
  if (isJsonObject(grpc)) return { grpc: { ...grpc, target: to } };
  if (isJsonObject(http)) return { http: { ...http, url: `${to}${String(http["url"]).slice((originOf(literal(http["url"])) ?? "").length)}` } };
  return isJsonObject(pull) ? { pull: { ...pull, task_queue: to } } : endpoint;
}

function literal(value: Json | undefined): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** As written, so that `{{…}}` behind it is left alone: scheme, host and port. */
function originOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : /^https?:\/\/[^/?#{}]+/i.exec(url)?.[0];
}
