/**
 * The request message of a JSON route, as JSON text: from path, query and body. The body's text is kept as its author wrote it
 * (numbers that JavaScript would round are refused later, with their place). What has no place in the message is refused.
 */
import { type DescField, type DescMethod, ScalarType } from "@bufbuild/protobuf";
import { type FieldViolation, violationsError } from "../../base/errors.ts";
import { isJsonObject, type Json } from "../../base/json.ts";
import type { JsonMatch } from "./json-paths.ts";

/** Other names under which the body may bring a field, by the message's field that the body is. */
const aliases: Readonly<Record<string, string>> = { template_config: "definition" };
/** Well-known messages that are one text in JSON. */
const textMessages: ReadonlySet<string> = new Set(["google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"]);

/** `body` is empty for routes without one. @throws AppError VALIDATION_FAILED */
export function jsonRequest({ route, fields }: JsonMatch, query: URLSearchParams, body: string): string {
  const { method, httpMethod } = route;
  const members = new Map<string, string>(
    Object.entries(queryMembers(method, query, route.body === "*")).map(([name, value]) => [name, JSON.stringify(value)]),
  );
  // A whole resource replaces the old one.
  if (httpMethod === "PUT" && !members.has("update_mask")) members.set("update_mask", '"*"');
  if (route.body !== "" && route.body !== "*") members.set(route.body, aliased(objectText(body), method));
  for (const [name, value] of Object.entries(fields)) members.set(name, JSON.stringify(value));
  const own = [...members].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",");
  if (route.body !== "*") return `{${own}}`;
  // What the path says comes last, so it counts.
  const inner = objectText(body === "" ? "{}" : body).slice(1, -1);
  return inner.trim() === "" ? `{${own}}` : `{${inner}${own === "" ? "" : `,${own}`}}`;
}

function queryMembers(method: DescMethod, query: URLSearchParams, hasWholeBody: boolean): Record<string, Json> {
  const members: Record<string, Json> = {};
  const faults: FieldViolation[] = [];
  for (const name of new Set(query.keys())) {
    const field = method.input.fields.find((known) => known.name === name || known.jsonName === name);
    const values = query.getAll(name);
    const refuse = (description: string): void => void faults.push({ field: name.slice(0, 100), reason: "VALIDATION_FAILED", description });
    if (!field) refuse(`is not a parameter of ${method.name}`);
    else if (hasWholeBody) refuse("belongs into the body");
    else if (field.fieldKind === "list") members[field.name] = values.map((value) => scalar(field, value));
    else if (values.length > 1) refuse("stands in the query twice");
    else if (field.fieldKind === "map" || (field.fieldKind === "message" && !textMessages.has(field.message.typeName))) refuse("cannot be given in the query");
    else members[field.name] = scalar(field, values[0] as string);
  }
  if (faults.length > 0) throw violationsError(faults);
  return members;
}

/** Texts are taken for numbers and enums; only true and false are no texts in JSON, and masks have their own spelling. */
function scalar(field: DescField, value: string): Json {
  if (field.fieldKind === "message" && field.message.typeName === "google.protobuf.FieldMask")
    return value.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  // FULL stands for VIEW_FULL, as in filters.
  if (field.enum) return field.enum.values.find(({ name, localName }) => name === value || localName === value)?.name ?? value;
  const isBool = field.scalar === ScalarType.BOOL;
  return isBool && (value === "true" || value === "false") ? value === "true" : value;
}

function objectText(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw violationsError([{ field: "(body)", reason: "VALIDATION_FAILED", description: "is not JSON" }]);
  }
  if (!isJsonObject(value)) throw violationsError([{ field: "(body)", reason: "VALIDATION_FAILED", description: "must be a JSON object" }]);
  return text.trim();
}

/** Only where the message has a field of the real name and the body brings none. */
function aliased(text: string, method: DescMethod): string {
  const value = JSON.parse(text) as Record<string, unknown>;
  for (const [alias, name] of Object.entries(aliases)) {
    if (!method.name.endsWith("Template") || !Object.hasOwn(value, alias) || Object.hasOwn(value, name)) continue;
    return text.replace(new RegExp(`(?<!\\\\)"${alias}"\\s*:`), `"${name}":`);
  }
  return text;
}
