/**
 * Refuses at save what the address guard would refuse at run: literal URLs in step configurations. Only for definitions that
 * are saved now; a stored one keeps loading when an operator closes a target, and its calls are refused then.
 */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import type { StepTypeSpec } from "../../domain/step-type.ts";
import { parseGrpcTarget } from "../grpc-client/grpc-target.ts";

/** Where the addresses stand in the configurations of the steps that leave the process. */
const urlFields: Readonly<Record<string, readonly string[]>> = {
  http_request: ["url", "auth.oauth2.token_url"],
  notification: ["webhook.url"],
  file_process: ["source.url"],
  grpc_call: ["target"],
};

const blockedMessage = "this address is not open to steps; an operator opens private targets in PAWF_EGRESS_ALLOW";

export function withUrlCheck(spec: StepTypeSpec, isRefused: (url: URL) => boolean): StepTypeSpec {
  const fields = urlFields[spec.type];
  const read = spec.type === "grpc_call" ? grpcOrigin : literalUrl;
  if (!fields) return spec;
  return {
    ...spec,
    check: (config, report) => {
      spec.check?.(config, report);
      for (const field of fields) {
        const url = read(config, field);
        if (url && isRefused(url)) report(field, "EGRESS_BLOCKED", blockedMessage);
      }
    },
  };
}

function literalUrl(config: JsonObject, field: string): URL | undefined {
  const value = field.split(".").reduce<Json | undefined>((at, key) => (isJsonObject(at) ? at[key] : undefined), config);
  if (typeof value !== "string" || value.includes("{{") || !URL.canParse(value)) return undefined;
  const url = new URL(value);
  return url.protocol === "http:" || url.protocol === "https:" ? url : undefined;
}

function grpcOrigin(config: JsonObject, field: string): URL | undefined {
  const target = config[field];
  if (typeof target !== "string" || target.includes("{{")) return undefined;
  const origin = parseGrpcTarget(target, config["plaintext"] === true);
  return origin.ok ? origin.value : undefined;
}
