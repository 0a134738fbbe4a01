/** YAML 1.2 as JSON and back. Aliases are followed up to a bound; whole numbers above 2^53 become text, as in JSON. */
import { parseDocument, stringify } from "yaml";
import { findJsonFault, type Json } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";

const aliasesMax = 100;

export function readYaml(text: string): Result<Json, Failure> {
  const document = parseDocument(text, { schema: "core", intAsBigInt: true, prettyErrors: true, stringKeys: true });
  const [error] = document.errors;
  if (error) return fail(failure("SCHEMA", `the YAML is not valid: ${error.message.slice(0, 300)}`));
  const value = plain(document.toJS({ maxAliasCount: aliasesMax }));
  const fault = findJsonFault(value, undefined, "document");
  return fault ? fail(failure("SCHEMA", `${fault.path} ${fault.problem}`)) : ok(value);
}

export function writeYaml(document: Json): string {
  return stringify(document, { lineWidth: 0, aliasDuplicateObjects: false });
}

function plain(value: unknown): Json {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
  return (value ?? null) as Json;
}
