/** The secrets a definition needs, by slot: which are declared, and whether every SecretRef of a step names one of them. */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import type { Report } from "./report.ts";
import type { StepTypeSpec } from "./step-type.ts";

export interface SecretSlot {
  /** The workflow runs without a secret for it. */
  readonly optional: boolean;
}

export type SecretSlots = ReadonlyMap<string, SecretSlot>;

/** For steps that name secrets directly: the slot is the secret's name. */
export const anySlot: SecretSlots = new (class extends Map<string, SecretSlot> {
  override has(): boolean {
    return true;
  }
})();

const slotName = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

/** Reads `secret_slots`. */
export function parseSecretSlots(value: Json | undefined, path: string, report: Report): SecretSlots {
  const slots = new Map<string, SecretSlot>();
  const declared = Array.isArray(value) ? value.filter(isJsonObject) : [];
  declared.forEach((slot, index) => {
    const name = typeof slot["name"] === "string" ? slot["name"] : "";
    const at = `${path}[${index}].name`;
    if (!slotName.test(name)) report.violation(at, "VALIDATION_FAILED", "must begin with a letter and hold 1 to 64 letters, digits, _ and -");
    else if (slots.has(name)) report.violation(at, "VALIDATION_FAILED", `slot "${name}" is declared twice`);
    slots.set(name, { optional: slot["optional"] === true });
  });
  return slots;
}

/** Reports each SecretRef of a configuration that names no declared slot. `at` is where the configuration stands. */
export function checkSecretRefs(spec: StepTypeSpec, config: JsonObject, slots: SecretSlots, at: string, report: Report): void {
  for (const pattern of spec.secretRefs ?? []) {
    for (const { path, value } of valuesAt(config, pattern.split("."), at)) {
      const slot = isJsonObject(value) && typeof value["slot"] === "string" ? value["slot"] : "";
      if (slots.has(slot)) continue;
      const known = slots.size === 0 ? "declare it in secret_slots" : `declared are ${[...slots.keys()].join(", ")}`;
      report.violation(`${path}.slot`, "SECRET_SLOT_UNKNOWN", slot === "" ? "names no slot" : `there is no secret slot "${slot}"; ${known}`);
    }
  }
}

/** Slots that a configuration names. */
export function secretSlotsOf(spec: StepTypeSpec, config: JsonObject): string[] {
  return (spec.secretRefs ?? []).flatMap((pattern) =>
    valuesAt(config, pattern.split("."), "").flatMap(({ value }) => (isJsonObject(value) && typeof value["slot"] === "string" ? value["slot"] : [])),
  );
}

/** The values that a pattern such as `auth.basic.password` or `secret_headers.*` leads to. */
function valuesAt(value: Json | undefined, pattern: readonly string[], path: string): { readonly path: string; readonly value: Json }[] {
  const [key, ...rest] = pattern;
  if (value === undefined || value === null) return [];
  if (key === undefined) return [{ path, value }];
  if (!isJsonObject(value)) return [];
  const keys = key === "*" ? Object.keys(value) : Object.hasOwn(value, key) ? [key] : [];
  return keys.flatMap((name) => valuesAt(value[name], rest, `${path}.${name}`));
}
