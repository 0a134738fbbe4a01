/**
 * Who may call what: the policy option of every rpc, read once at start. An rpc without a complete policy keeps the
 * server from starting, so that nothing is open because somebody forgot to close it.
 */
import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { AuditLevel, policy as policyOption, RateClass } from "#gen/pyairtable/api/v1/options_pb.js";

export type ReflectionMode = "public" | "auth" | "off";

export interface MethodRule {
  readonly method: DescMethod;
  /** `package.Service/Method`, the name in logs and metrics. */
  readonly name: string;
  /** `open`: no key is looked at; `optional`: a key is checked if one is sent; `key`: a key is needed. */
  readonly access: "open" | "optional" | "key";
  /** All of them are needed. */
  readonly scopes: readonly string[];
  readonly rateClass: RateClass;
  readonly audit: AuditLevel;
  /** Deadline of a call that names none, in milliseconds; undefined = none (streams). */
  readonly defaultDeadlineMs: number | undefined;
}

/** Keyed by `package.Service/Method`. */
export type PolicyTable = ReadonlyMap<string, MethodRule>;

export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/**
 * The rules of all methods of `services`, health and reflection included when they are in the list.
 * Throws one Error that lists every rpc whose policy is missing or incomplete.
 */
export function buildPolicyTable(services: readonly DescService[], reflection: ReflectionMode = "auth"): PolicyTable {
  const table = new Map<string, MethodRule>();
  const problems: string[] = [];
  for (const method of services.flatMap((service) => service.methods)) {
    const rule = thirdPartyRule(method, reflection) ?? declaredRule(method, problems);
    if (rule) table.set(rule.name, rule);
  }
  if (problems.length > 0) throw new Error(`These rpcs cannot be served:\n  ${problems.join("\n  ")}`);
  return table;
}

function declaredRule(method: DescMethod, problems: string[]): MethodRule | undefined {
  const name = methodName(method);
  if (!hasOption(method, policyOption)) {
    problems.push(`${name}: has no policy option`);
    return undefined;
  }
  const policy = getOption(method, policyOption);
  const missing = [
    ...(policy.public || policy.scopes.length > 0 ? [] : ["scopes"]),
    ...(policy.rateClass === RateClass.UNSPECIFIED ? ["rate_class"] : []),
    ...(policy.audit === AuditLevel.UNSPECIFIED ? ["audit"] : []),
  ];
  if (missing.length > 0) {
    problems.push(`${name}: its policy lacks ${missing.join(", ")}`);
    return undefined;
  }
  const deadline = policy.defaultDeadline;
  const defaultDeadlineMs = deadline ? Number(deadline.seconds) * 1000 + deadline.nanos / 1e6 : usualDeadlineMs(method);
  return {
    method,
    name,
    access: policy.public ? "open" : "key",
    scopes: policy.scopes,
    rateClass: policy.rateClass,
    audit: policy.audit,
    defaultDeadlineMs,
  };
}

/** Reads 10 s, writes 30 s, streams none. */
function usualDeadlineMs(method: DescMethod): number | undefined {
  if (method.methodKind !== "unary") return undefined;
  return method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS ? 10_000 : 30_000;
}

/** A stream that anybody may open must not stay open for ever. */
const reflectionDeadlineMs = 5 * 60_000;

/** Health and reflection come as published, so their rules stand here. */
function thirdPartyRule(method: DescMethod, reflection: ReflectionMode): MethodRule | undefined {
  const name = methodName(method);
  const rule = { method, name, rateClass: RateClass.READ, audit: AuditLevel.NONE, defaultDeadlineMs: usualDeadlineMs(method) };
  switch (name) {
    case "grpc.health.v1.Health/Check":
      return { ...rule, access: "optional", scopes: [] };
    case "grpc.health.v1.Health/Watch":
    case "grpc.health.v1.Health/List":
      return { ...rule, access: "key", scopes: ["monitoring:read"] };
    case "grpc.reflection.v1.ServerReflection/ServerReflectionInfo":
    case "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo":
      return { ...rule, access: reflection === "public" ? "open" : "key", scopes: [], defaultDeadlineMs: reflectionDeadlineMs };
    default:
      return undefined;
  }
}
