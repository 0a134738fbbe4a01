/** One attempt of a step, as the engine would hand it over: expressions are evaluated for real, time stands still. */
import { systemClock } from "../../src/base/clock.ts";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { silentLog } from "../../src/base/log.ts";
import { Mask } from "../../src/base/mask.ts";
import { fail } from "../../src/base/result.ts";
import { portableExpression } from "../../src/domain/expressions/portable-expression.ts";
import { renderTemplate } from "../../src/domain/expressions/render-template.ts";
import { failure } from "../../src/domain/failure.ts";
import { Report } from "../../src/domain/report.ts";
import { compileStepConfig } from "../../src/domain/step-config.ts";
import { attemptSecrets } from "../../src/engine/attempt-secrets.ts";
import { OAuthTokens } from "../../src/steps/auth/oauth-tokens.ts";
import { createHttpEgress } from "../../src/steps/egress/http-egress.ts";
import { createGrpcEgress } from "../../src/steps/grpc-client/create-grpc-egress.ts";
import type { GrpcEgress } from "../../src/steps/grpc-egress.ts";
import type { AttemptSecrets, HttpEgress, StepCall, StepHandler, StepOutcome, StepServices } from "../../src/steps/step-handler.ts";
import { offlineServices } from "./offline-services.ts";

/** 2026-03-01T12:00:00Z */
export const testNow = Date.UTC(2026, 2, 1, 12);

/** An attempt whose facts are given directly; for steps without expressions. */
export function callOf(facts: Partial<StepCall> & { readonly config: JsonObject }): StepCall {
  return {
    tenantId: "tenant-a",
    executionId: "exe_01JQ0000000000000000000000",
    correlationId: "corr-1",
    stepPath: "reserve",
    attempt: 1,
    operation: "action",
    idempotencyKey: "exe_01JQ0000000000000000000000/reserve/action",
    traceparent: undefined,
    signal: new AbortController().signal,
    secrets: secretsOf({}),
    deadlineAt: testNow + 30_000,
    now: () => testNow,
    evaluate: (path) => fail(failure("EXPRESSION", `no expression at ${path}`)),
    portable: () => undefined,
    ...facts,
  };
}

/** Secrets by slot: one value, or the current one and those that are still valid. */
export function secretsOf(values: Readonly<Record<string, string | readonly string[]>>, mask = new Mask()): AttemptSecrets {
  const source = { read: async (_: string, name: string) => (Object.hasOwn(values, name) ? [values[name] ?? []].flat() : undefined) };
  return attemptSecrets(source, mask, "tenant-a", { definition: { secretSlots: new Map() } });
}

/**
 * An attempt of `handler` with `config` as its author wrote it: checked, compiled and rendered against `scope` by the
 * real expressions. Throws if the configuration would be refused at save.
 */
export function attemptOf(handler: StepHandler, config: JsonObject, scope: JsonObject = {}, facts: Partial<StepCall> = {}): StepCall {
  const report = new Report();
  const compiled = compileStepConfig(handler, config, "config", report);
  const problems = [...report.violations.map(({ field, description }) => `${field}: ${description}`), ...problemsOf(handler, config)];
  if (problems.length > 0) throw new Error(problems.join("; "));
  const context = { executionId: "exe_01JQ0000000000000000000000", stepPath: facts.stepPath ?? "reserve", monotonic: systemClock.monotonic };
  const rendered = renderTemplate(compiled.rendered, scope, context);
  if (!rendered.ok) throw new Error(rendered.fault.message);
  return callOf({
    config: rendered.value as JsonObject,
    evaluate(path, extra) {
      const part = compiled.deferred.get(path);
      if (!part) return fail(failure("EXPRESSION", `no expression at ${path}`));
      return renderTemplate(part, { ...scope, ...extra }, context);
    },
    portable(path) {
      const part = compiled.deferred.get(path);
      return part?.kind === "expression" ? portableExpression(part, scope, context) : undefined;
    },
    ...facts,
  });
}

/** What `check` reports for a configuration, as `path: REASON`. */
export function problemsOf(handler: StepHandler, config: JsonObject): string[] {
  const problems: string[] = [];
  handler.check?.(config, (path, reason) => void problems.push(`${path}: ${reason}`));
  return problems;
}

const noHttp: HttpEgress = {
  request: async () => ({ kind: "failed", outcome: "failed", failure: failure("LIMIT.EGRESS", "this test opens no connections") }),
};

const noGrpc: GrpcEgress = {
  call: async () => ({ kind: "failed", outcome: "failed", failure: failure("LIMIT.EGRESS", "this test opens no connections") }),
  exchange: async () => ({ kind: "failed", outcome: "failed", failure: failure("LIMIT.EGRESS", "this test opens no connections") }),
};

export function servicesOf(http: HttpEgress = noHttp, grpc: GrpcEgress = noGrpc, others: Partial<StepServices> = {}): StepServices {
  return { http, grpc, tokens: new OAuthTokens(http, systemClock), ...offlineServices(others.files), clock: systemClock, log: silentLog, ...others };
}

/** A gRPC client that may reach this machine only. Close it with `using`. */
export function localGrpc({
  allow = ["127.0.0.1:*"],
  ...options
}: Partial<Parameters<typeof createGrpcEgress>[0]> & { allow?: string[] } = {}): ReturnType<typeof createGrpcEgress> & Disposable {
  const { rulesOf } = createHttpEgress({ allow, log: silentLog, clock: systemClock });
  const egress = createGrpcEgress({ rulesOf, log: silentLog, clock: systemClock, ...options });
  return { ...egress, [Symbol.dispose]: () => egress.close() };
}

/** An egress that may reach this machine only. Close it with `await using`. */
export function localEgress(options: Partial<Parameters<typeof createHttpEgress>[0]> = {}): HttpEgress & AsyncDisposable {
  const egress = createHttpEgress({ allow: ["127.0.0.1:*"], log: silentLog, clock: systemClock, ...options });
  return { request: (request) => egress.request(request), [Symbol.asyncDispose]: () => egress.close() };
}

/** The failure of an outcome, or an error that shows what came instead. */
export function failureIn(outcome: StepOutcome): Extract<StepOutcome, { kind: "failed" }> {
  if (outcome.kind !== "failed") throw new Error(`expected a failure, got ${JSON.stringify(outcome)}`);
  return outcome;
}

export function resultIn(outcome: StepOutcome): Json {
  if (outcome.kind !== "succeeded") throw new Error(`expected success, got ${JSON.stringify(outcome)}`);
  return outcome.result;
}
