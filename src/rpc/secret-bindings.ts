/** Secret bindings of a workflow, checked where it is saved: every slot leads to a secret that the tenant has. */
import type { Caller } from "../base/caller.ts";
import { type FieldViolation, violationsError } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import type { SecretRepository } from "../store/secret-repository.ts";

export interface BindingFaults {
  readonly violations: readonly FieldViolation[];
  /** Names of secrets that are bound and do not exist. */
  readonly missing: readonly string[];
}

/**
 * `source` is the definition, `bindings` the names by slot, both as they are stored; `path` is where the bindings stand in the
 * request. A slot without a binding means the secret of its own name; an optional one may have none.
 */
export async function findBindingFaults(
  secrets: Pick<SecretRepository, "known">,
  caller: Caller,
  source: JsonObject,
  bindings: Readonly<Record<string, string>>,
  path: string,
): Promise<BindingFaults> {
  const slots = slotsOf(source);
  const violations: FieldViolation[] = [];
  for (const slot of Object.keys(bindings)) {
    if (slots.has(slot)) continue;
    const description = `there is no secret slot "${slot}"; declare it in secret_slots or leave the binding out`;
    violations.push({ field: `${path}.${slot}`, reason: "SECRET_SLOT_UNKNOWN", description });
  }
  const needed = [...slots].filter(([slot, { optional }]) => !optional || Object.hasOwn(bindings, slot));
  const names = needed.map(([slot]) => ({ slot, name: Object.hasOwn(bindings, slot) ? (bindings[slot] as string) : slot }));
  const known = await secrets.known(
    caller.tenantId,
    names.map(({ name }) => name),
  );
  const missing = names.filter(({ name }) => !known.has(name));
  for (const { slot, name } of missing) {
    const description = `slot "${slot}" needs the secret "${name}", which does not exist; set it with SecretService.SetSecret or bind another one`;
    violations.push({ field: `${path}.${slot}`, reason: "SECRET_NOT_FOUND", description });
  }
  return { violations, missing: [...new Set(missing.map(({ name }) => name))] };
}

/** Throws the first fault's reason (SECRET_SLOT_UNKNOWN, SECRET_NOT_FOUND) with all of them. */
export async function checkSecretBindings(
  secrets: Pick<SecretRepository, "known">,
  caller: Caller,
  source: JsonObject,
  bindings: Readonly<Record<string, string>>,
  path: string,
): Promise<void> {
  const { violations } = await findBindingFaults(secrets, caller, source, bindings, path);
  if (violations.length > 0) throw violationsError(violations);
}

/** The bindings of slots that the definition declares: what is left of old ones when a slot goes away. */
export function bindingsOfSlots(source: JsonObject, bindings: Readonly<Record<string, string>>): Record<string, string> {
  const slots = slotsOf(source);
  return Object.fromEntries(Object.entries(bindings).filter(([slot]) => slots.has(slot)));
}

function slotsOf(source: JsonObject): ReadonlyMap<string, { readonly optional: boolean }> {
  const slots = Array.isArray(source["secret_slots"]) ? source["secret_slots"].filter(isJsonObject) : [];
  return new Map(slots.map((slot) => [String(slot["name"] ?? ""), { optional: slot["optional"] === true }]));
}
