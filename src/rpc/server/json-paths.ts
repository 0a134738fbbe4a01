/** Paths of the JSON routes, from the `google.api.http` option of the rpcs: literal segments, `{field}`, and `:verb` at the end. */
import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "#gen/google/api/annotations_pb.js";
import type { HttpRule } from "#gen/google/api/http_pb.js";

export interface JsonRoute {
  readonly httpMethod: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly method: DescMethod;
  /** Proto name of the field that the body is, `*` for the whole message, empty for none. */
  readonly body: string;
  readonly segments: readonly Segment[];
}

type Segment = { readonly literal: string } | { readonly field: string; readonly verb: string };

export interface JsonMatch {
  readonly route: JsonRoute;
  /** Proto field name → value, decoded. */
  readonly fields: Readonly<Record<string, string>>;
}

export function jsonRoutesOf(services: readonly DescService[]): JsonRoute[] {
  return services.flatMap((service) =>
    service.methods.flatMap((method) => {
      if (!hasOption(method, http)) return [];
      const rule = getOption(method, http);
      return [rule, ...rule.additionalBindings].flatMap((binding) => routeOf(method, binding) ?? []);
    }),
  );
}

/** The route of a path, the one with most literal segments first. Undefined: none. Throws URIError for broken escapes. */
export function matchJsonRoute(routes: readonly JsonRoute[], httpMethod: string, path: string): JsonMatch | undefined {
  const parts = path.split("/").slice(1).map(decodeURIComponent);
  let best: { match: JsonMatch; literals: number } | undefined;
  for (const route of routes) {
    if (route.httpMethod !== httpMethod || route.segments.length !== parts.length) continue;
    const fields = fieldsOf(route, parts);
    if (!fields) continue;
    const literals = route.segments.filter((segment) => "literal" in segment || segment.verb !== "").length;
    if (!best || literals > best.literals) best = { match: { route, fields }, literals };
  }
  return best?.match;
}

function routeOf(method: DescMethod, { pattern, body }: HttpRule): JsonRoute | undefined {
  if (pattern.case === undefined || pattern.case === "custom") return undefined;
  const httpMethod = pattern.case.toUpperCase() as JsonRoute["httpMethod"];
  const segments = pattern.value
    .split("/")
    .slice(1)
    .map((part): Segment => {
      const variable = /^\{(\w+)\}(?::(\w+))?$/.exec(part);
      return variable ? { field: variable[1] as string, verb: variable[2] ?? "" } : { literal: part };
    });
  return { httpMethod, method, body, segments };
}

function fieldsOf({ segments }: JsonRoute, parts: readonly string[]): Record<string, string> | undefined {
  const fields: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const part = parts[index] as string;
    if ("literal" in segment) {
      if (part !== segment.literal) return undefined;
      continue;
    }
    const suffix = segment.verb === "" ? "" : `:${segment.verb}`;
    if (!part.endsWith(suffix) || part.length === suffix.length) return undefined;
    fields[segment.field] = part.slice(0, part.length - suffix.length);
  }
  return fields;
}
