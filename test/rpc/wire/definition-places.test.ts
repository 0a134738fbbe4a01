/** Which fields of a definition are text or expressions: the list beside the descriptors against the rules that the step types have. */
import { expect, test } from "vitest";
import { type FoldPlace, foldParams } from "../../../src/domain/expressions/fold-params.ts";
import { definitionPlace } from "../../../src/rpc/wire/definition-places.ts";
import { stepHandlers } from "../../../src/steps/registry.ts";

const step = definitionPlace.at("steps");
const placeAt = (path: string, from: FoldPlace = step): FoldPlace => path.split(".").reduce((place, key) => place.at(key.replaceAll("[]", "")), from);

const rules = [...stepHandlers.values()].flatMap(({ type, fields }) => Object.entries(fields).map(([path, rule]) => [`${type}.${path}`, rule.as] as const));

test.each(rules.filter(([path]) => !path.startsWith("self_driven")))("%s is read as %s", (path, as) => {
  const { kind } = placeAt(path);
  if (as === "expression") expect(kind).toBe("expression");
  else expect(kind).not.toBe("expression");
});

test.each([
  ["run_if", "expression"],
  ["export.total", "expression"],
  ["retry_policy.retry_if", "expression"],
  ["compensation.retry_policy.retry_if", "expression"],
  ["compensation.step.http_request.url", "text"],
  ["on_error.catches.when", "expression"],
  ["on_error.catches.steps.log.message", "text"],
  ["conditional.cases.when", "expression"],
  ["conditional.cases.steps.for_each.steps.run_if", "expression"],
  ["for_each.items", "expression"],
  ["for_each.collect", "expression"],
  ["parallel.branches.steps.delay.until", "expression"],
  ["http_request.headers.x-a", "text"],
  ["http_request.json.items", "json"],
  ["log.fields.when", "json"],
  ["idempotency_key", "text"],
  ["circuit_breaker.key", "text"],
])("%s of a step is %s", (path, kind) => {
  expect(placeAt(path).kind).toBe(kind);
});

test.each([
  ["default_retry_policy.retry_if", "expression"],
  ["concurrency.key", "expression"],
  ["variables.any", "json"],
  ["outputs.any", "json"],
])("%s of a definition is %s", (path, kind) => {
  expect(placeAt(path, definitionPlace).kind).toBe(kind);
});

test("parameters become values in free JSON, text in text, and never code", () => {
  const steps = [
    { name: "a", run_if: "{{params.code}}", log: { message: "{{params.count}}", fields: { count: "{{params.count}}", text: "{{params.code}}" } } },
    { name: "b", log: { message: "{{params.code}} {{params.count}}" } },
    { name: "c", for_each: { items: "{{params.list}}", steps: [{ name: "d", delay: { duration_expression: "{{params.code}}" } }] } },
  ];
  const folded = foldParams({ steps }, { code: "1 == 1", count: 3, list: [1] }, definitionPlace);
  expect(folded).toEqual({
    ok: true,
    value: {
      steps: [
        { name: "a", run_if: "{{params.code}}", log: { message: "{{params.count}}", fields: { count: 3, text: "1 == 1" } } },
        { name: "b", log: { message: "1 == 1 3" } },
        steps[2],
      ],
    },
  });
});
