import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { choice, faultsOf, line, parse, post, stepFaults, undoStep, violationsOf } from "./parsed.ts";

describe("a definition without faults", () => {
  it("is parsed with every default filled in", () => {
    const parsed = parse({ steps: [post("charge", { compensation: { step: undoStep } }), line("tell", "{{ steps.charge.result.status }}")] });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
    const { definition } = parsed.value;
    expect(definition.steps.map(({ name, kind, at }) => [name, kind, at])).toEqual([
      ["charge", "compensatable", "definition.steps[0]"],
      ["tell", "readonly", "definition.steps[1]"],
    ]);
    expect(definition).toMatchObject({ executionTimeoutMs: 7 * 86_400_000, onFailure: "compensate", undoOrder: "reverse", durability: "effect_barriers" });
    expect(definition.steps[0]?.retry).toMatchObject({ initialIntervalMs: 1_000, backoffCoefficient: 2, maximumIntervalMs: 60_000, maximumAttempts: 3 });
    expect(definition.steps[0]?.compensation?.retry).toMatchObject({ initialIntervalMs: 200, maximumAttempts: 0 });
    expect(parsed.value.warnings).toEqual([]);
  });

  it("may be empty, with a warning", () => {
    const parsed = parse({});
    expect(parsed.ok && parsed.value.warnings.map(({ field }) => field)).toEqual(["definition.steps"]);
  });

  it("tells the kind of an effect that declares nothing by its configuration", () => {
    const parsed = parse({ steps: [{ name: "read", http_request: { url: "https://shop.test" } }, post("write")] });
    expect(parsed.ok && [...parsed.value.definition.stepsByName.values()].map(({ kind }) => kind)).toEqual(["readonly", undefined]);
  });
});

describe("names", () => {
  it.each<[string, JsonObject[], string[]]>([
    ["two equal names", [line("a"), line("a")], ["definition.steps[1].name STEP_NAME_DUPLICATE"]],
    ["names that differ in case alone", [line("Charge"), line("charge")], ["definition.steps[1].name STEP_NAME_DUPLICATE"]],
    [
      "a nested step named like an outer one",
      [line("a"), choice("b", [line("A")])],
      ["definition.steps[1].conditional.cases[0].steps[0].name STEP_NAME_DUPLICATE"],
    ],
    [
      "a step in a catch named like an outer one",
      [line("a"), line("b", "x", { on_error: { catches: [{ steps: [line("a")] }] } })],
      ["definition.steps[1].on_error.catches[0].steps[0].name STEP_NAME_DUPLICATE"],
    ],
    ["a name that is missing", [{ log: { message: "x" } }], ["definition.steps[0].name VALIDATION_FAILED"]],
    ["a name with a character that paths use", [line("a/b")], ["definition.steps[0].name VALIDATION_FAILED"]],
    ["a name that is too long", [line("a".repeat(65))], ["definition.steps[0].name VALIDATION_FAILED"]],
    ["__proto__", [line("__proto__")], ["definition.steps[0].name VALIDATION_FAILED"]],
    [
      "constructor, in any case",
      [line("constructor"), line("Prototype")],
      ["definition.steps[0].name VALIDATION_FAILED", "definition.steps[1].name VALIDATION_FAILED"],
    ],
    ["a word of the expression language", [line("in")], ["definition.steps[0].name VALIDATION_FAILED"]],
  ])("refuse %s", (_, steps, faults) => {
    expect(stepFaults(...steps)).toEqual(faults);
  });

  it("say where the first of two equal names stands", () => {
    expect(violationsOf({ steps: [line("a"), line("A")] })[0]?.description).toContain("definition.steps[0]");
  });
});

describe("step types", () => {
  it("refuse an unknown one and list those that are known", () => {
    const [violation] = violationsOf({ steps: [{ name: "a", teleport: {} }] });
    expect(violation).toMatchObject({ field: "definition.steps[0]", reason: "STEP_TYPE_UNKNOWN" });
    expect(violation?.description).toMatch(/teleport.*conditional.*http_request/);
  });

  it("refuse a step without one", () => {
    expect(stepFaults({ name: "a" })).toEqual(["definition.steps[0] STEP_TYPE_UNKNOWN"]);
  });

  it("report a type's own refusals at its fields", () => {
    expect(stepFaults({ name: "a", http_request: { url: "ftp://x.test", method: "STEAL" } }, { name: "b", delay: {} })).toEqual([
      "definition.steps[0].http_request.method VALIDATION_FAILED",
      "definition.steps[0].http_request.url EGRESS_BLOCKED",
      "definition.steps[1].delay.duration VALIDATION_FAILED",
    ]);
  });

  it("refuse a conditional without cases, with equal names or with a case named else", () => {
    const cases: Json[] = [
      { name: "x", when: "true" },
      { name: "x", when: "true" },
      { name: "else", when: "true" },
    ];
    expect(stepFaults({ name: "a", conditional: {} }, { name: "b", conditional: { cases } })).toEqual([
      "definition.steps[0].conditional.cases VALIDATION_FAILED",
      "definition.steps[1].conditional.cases[1].name STEP_NAME_DUPLICATE",
      "definition.steps[1].conditional.cases[2].name VALIDATION_FAILED",
    ]);
  });

  it("refuse an unknown version of the language", () => {
    expect(faultsOf({ dsl_version: "v9" })).toEqual(["definition.dsl_version DSL_VERSION_UNSUPPORTED"]);
    expect(faultsOf({ dsl_version: "v1" })).toEqual([]);
  });
});

describe("variables of expressions", () => {
  const reads = (expression: string, place: (text: string) => JsonObject): string[] => stepFaults(line("first"), place(`{{ ${expression} }}`), line("last"));
  const message = (text: string): JsonObject => line("middle", text);

  it.each([
    ["a root nobody knows", "order.id"],
    ["a step nobody knows", "steps.nowhere.result"],
    ["a step that runs later", "steps.last.result"],
    ["the step itself", "steps.middle.result"],
    ["a secret", "secrets.token"],
    ["a variable of another place", "error.message"],
    ["a variable inside a function's arguments", "size(order.items) > 0"],
  ])("refuse %s", (_, expression) => {
    expect(reads(expression, message)).toEqual(["definition.steps[1].log.message UNKNOWN_VARIABLE"]);
  });

  it.each(["steps.first.result.message", "trigger.data.x", "variables.?a", "params.p", "now", "execution_id", "saga.id", "[1].map(n, n)[0]"])(
    "allow %s",
    (expression) => {
      expect(reads(expression, message)).toEqual([]);
    },
  );

  it("name the exact place inside a list or an object", () => {
    const json = { rows: [1, { total: "{{ nothing.here }}" }] };
    expect(stepFaults({ name: "a", http_request: { method: "POST", url: "https://shop.test/{{ gone }}", json } })).toEqual([
      "definition.steps[0].http_request.url UNKNOWN_VARIABLE",
      "definition.steps[0].http_request.json.rows[1].total UNKNOWN_VARIABLE",
    ]);
  });

  it("are checked in every place that takes an expression", () => {
    const step = post("a", {
      run_if: "gone.a",
      idempotency_key: "k-{{ gone.b }}",
      retry_policy: { retry_if: "gone.c" },
      export: { total: "gone.d" },
      on_error: { catches: [{ when: "gone.e", steps: [line("c", "{{ gone.f }}")] }] },
      compensation: { step: { http_request: { method: "DELETE", url: "https://shop.test/{{ gone.g }}" } } },
    });
    const at = "definition.steps[0]";
    const found = faultsOf({
      variables: { v: "{{ steps.a.result }}" },
      steps: [step, choice("d", [], { cases: [{ when: "gone.h" }] })],
      outputs: { o: "{{ gone.i }}" },
    });
    expect([...found].sort()).toEqual(
      [
        "definition.variables.v",
        `${at}.run_if`,
        `${at}.idempotency_key`,
        `${at}.retry_policy.retry_if`,
        `${at}.export.total`,
        `${at}.on_error.catches[0].when`,
        `${at}.on_error.catches[0].steps[0].log.message`,
        `${at}.compensation.step.http_request.url`,
        "definition.steps[1].conditional.cases[0].when",
        "definition.outputs.o",
      ]
        .map((field) => `${field} UNKNOWN_VARIABLE`)
        .sort(),
    );
  });

  it("have the extra ones of their place: result, error, original, attempt", () => {
    const step = post("a", {
      retry_policy: { retry_if: "error.name != 'HTTP.500' && attempt < 2" },
      export: { status: "result.status" },
      on_error: { catches: [{ when: "error.name == 'NETWORK'", steps: [line("c", "{{ error.message }}")] }] },
      compensation: { step: { http_request: { method: "DELETE", url: "https://shop.test/{{ original.result.id }}/{{ error.name }}" } } },
    });
    expect(stepFaults(step)).toEqual([]);
  });
});

describe("expressions that cannot be read", () => {
  it("are refused with their place in the text", () => {
    const [violation] = violationsOf({ steps: [line("a", "{{ 1 + }}"), line("b")] });
    expect(violation).toMatchObject({ field: "definition.steps[0].log.message", reason: "EXPRESSION_INVALID" });
    expect(violation?.description).toContain("column 7");
  });

  it("are refused in a bare condition, too", () => {
    expect(stepFaults(line("a", "x", { run_if: "1 ==" }), choice("b", [], { cases: [{ when: "(" }] }))).toEqual([
      "definition.steps[0].run_if EXPRESSION_INVALID",
      "definition.steps[1].conditional.cases[0].when EXPRESSION_INVALID",
    ]);
  });

  it("are refused in a field that takes only literal text", () => {
    const config = { url: "https://shop.test", method: "{{ 'GET' }}" };
    expect(stepFaults({ name: "a", http_request: config })).toContain("definition.steps[0].http_request.method EXPRESSION_INVALID");
    expect(stepFaults({ name: "a", http_request: { url: "https://shop.test", idempotency_header: "X-{{ 1 }}" } })).toContain(
      "definition.steps[0].http_request.idempotency_header EXPRESSION_INVALID",
    );
  });

  it("in the shared retry policy are reported once, at its own place", () => {
    const shared = { default_retry_policy: { retry_if: "1 ==", initial_interval: "0.001s" }, steps: [line("a"), line("b"), line("c")] };
    expect(faultsOf(shared)).toEqual([
      "definition.default_retry_policy.initial_interval LIMIT_EXCEEDED",
      "definition.default_retry_policy.retry_if EXPRESSION_INVALID",
    ]);
    expect(faultsOf(shared, "template.definition")[0]).toMatch(/^template\.definition\.default_retry_policy/);
  });
});

it("every fault of a definition is listed at once, under the path it was given", () => {
  const definition = {
    dsl_version: "v2",
    variables: { v: "{{ }}" },
    steps: [
      line("a", "{{ gone }}"),
      line("a"),
      { name: "b", teleport: {} },
      post("c", { timeouts: { start_to_close: "0s" }, compensation: { kind: "COMPENSATION_KIND_COMPENSATABLE" } }),
    ],
    outputs: { o: "{{ 1 + }}" },
  };
  expect(faultsOf(definition, "template.definition").sort()).toEqual([
    "template.definition.dsl_version DSL_VERSION_UNSUPPORTED",
    "template.definition.outputs.o EXPRESSION_INVALID",
    "template.definition.steps[0].log.message UNKNOWN_VARIABLE",
    "template.definition.steps[1].name STEP_NAME_DUPLICATE",
    "template.definition.steps[2] STEP_TYPE_UNKNOWN",
    "template.definition.steps[3].compensation.step COMPENSATION_INVALID",
    "template.definition.steps[3].timeouts.start_to_close LIMIT_EXCEEDED",
    "template.definition.variables.v EXPRESSION_INVALID",
  ]);
});
