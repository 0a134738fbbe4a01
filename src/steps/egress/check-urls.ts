/**
 * Refuses at save what the address guard would refuse at run: literal URLs in step configurations. Only for definitions that
 * are saved now; a stored one keeps loading when an operator closes a target, and its calls are refused then.
 */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import type { StepTypeSpec } from "../../domain/step-type.ts";

/** Where the URLs stand in the configurations of the steps that leave the process. */
const urlFields: Readonly<Record<string, readonly string[]>> = {
  http_request: ["url"],
  notification: ["webhook.url"],
  file_process: ["source.url"],
};

export function withUrlCheck(spec: StepTypeSpec, isRefused: (url: URL) => boolean): StepTypeSpec {
  const fields = urlFields[spec.type];
  if (!fields) return spec;
  return {
    ...spec,
    check: (config, report) => {
      spec.check?.(config, report);
      for (const field of fields) {
        const url = literalUrl(config, field);
        if (url && isRefused(url)) report(field, "EGRESS_BLOCKED", "this address is not open to steps; an operator opens private targets in PAWF_EGRESS_ALLOW");
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
