/** Every saga that ships as an example (sagas, workflows and templates with an undo), ready to be simulated, with answers that fit it. */
import { readdirSync, readFileSync } from "node:fs";
import type { Json, JsonObject } from "../../src/base/json.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import type { Simulation } from "./simulate.ts";
import { compile } from "./simulated-steps.ts";

export interface ExampleSaga {
  readonly name: string;
  readonly revision: CompiledRevision;
  readonly simulation: Pick<Simulation, "created" | "enlisted">;
  /** What its effects answer, by name; `{status, headers, body}` unless told. */
  readonly results: Readonly<Record<string, Json>>;
}

const root = new URL("../../", import.meta.url);

function filesOf(folder: string): { readonly name: string; readonly content: JsonObject }[] {
  const files = readdirSync(new URL(folder, root)).filter((file) => file.endsWith(".json"));
  return files.map((file) => ({ name: folder + file, content: read(folder + file) }));
}

/** Placeholders of participants' addresses are filled in. */
function read(file: string): JsonObject {
  const text = readFileSync(new URL(file, root), "utf8");
  return JSON.parse(text.replaceAll("{url}", "https://participant.example").replaceAll("{target}", "participant.example:443")) as JsonObject;
}

/** Something that may fail after everything else. */
const last: JsonObject = { name: "what_follows", call: { reads: true } };

function ofWorkflow(name: string, definition: JsonObject, input: JsonObject, params: JsonObject = {}): ExampleSaga {
  // Behind a point of no return nothing may fail for good.
  const hasPivot = JSON.stringify(definition).includes("COMPENSATION_KIND_PIVOT");
  const steps = [...(definition["steps"] as JsonObject[]), ...(hasPivot ? [] : [last])];
  return { name, revision: compile({ ...definition, steps }, params), simulation: { created: { input } }, results: resultsOf[name] ?? {} };
}

/** Inputs and answers that lead through all steps of an example. */
const inputs: Readonly<Record<string, JsonObject>> = {
  "templates/multi-step-integration.json": { order_id: "A-1", payment_token: "tok" },
  "templates/order-saga.json": { order_id: "A-1", amount_cents: 1_250, payment_token: "tok" },
  "templates/wait-for-event.json": { request_id: "r-1" },
};
const records = { status: 200, headers: {}, body: { items: [{ id: "1", name: "Ada" }] } };
const resultsOf: Readonly<Record<string, Readonly<Record<string, Json>>>> = {
  "templates/multi-step-integration.json": { read_lines: { rows: [{ sku: "A", quantity: "2", unit_price_cents: "700" }] } },
  "templates/data-sync.json": { read_source: records, read_target: { ...records, body: [] } },
  "templates/paged-data-sync.json": { read: { items: [{ id: "1" }, { id: "2" }], pages: 1 } },
  "examples/workflows/for_each.json": { reserve: { status: 200, headers: {}, body: { reservation_id: "r-1" } } },
  "examples/workflows/grpc_call.json": { reserve: { state: "RESERVED" }, levels: [{ quantity: 3 }] },
};

const undoes = (definition: Json | undefined): boolean => JSON.stringify(definition ?? null).includes('"compensation"');

/** Parameters that have a default, beside those of the first example. */
function parametersOf(schema: JsonObject): JsonObject {
  const properties = Object.entries((schema["properties"] ?? {}) as Record<string, JsonObject>);
  const defaults = Object.fromEntries(properties.flatMap(([name, property]) => (property["default"] === undefined ? [] : [[name, property["default"]]])));
  return { ...defaults, ...((schema["examples"] as JsonObject[] | undefined)?.[0] ?? {}) };
}

export function exampleSagas(): readonly ExampleSaga[] {
  const sagas = filesOf("examples/sagas/").map(({ name, content }): ExampleSaga => {
    const { steps, auto_complete: autoComplete, compensation_policy: policy } = content as { steps: JsonObject[]; auto_complete: boolean } & JsonObject;
    const staged = steps.map((step, index) => ({ stage: index + 1, ...step }));
    const terms = { autoComplete, ...(policy === undefined ? {} : { compensationPolicy: policy as JsonObject }) };
    const created = { workflowId: "", workflowName: "", revision: 0, saga: terms };
    return { name, revision: compile({ steps: [] }), simulation: { created, enlisted: staged }, results: {} };
  });
  const workflows = filesOf("examples/workflows/").flatMap(({ name, content }) => {
    const { definition } = content["workflow"] as { definition: JsonObject };
    const input = (definition["input_schema"] as { examples?: JsonObject[] } | undefined)?.examples?.[0] ?? {};
    return undoes(definition) ? [ofWorkflow(name, definition, input)] : [];
  });
  const templates = filesOf("templates/").flatMap(({ name, content }) => {
    const { definition, parameters_schema: schema } = content as { definition: JsonObject; parameters_schema: JsonObject };
    return undoes(definition) ? [ofWorkflow(name, definition, inputs[name] ?? {}, parametersOf(schema))] : [];
  });
  return [...sagas, ...workflows, ...templates, ...composed];
}

const call = (name: string, more: JsonObject = {}): JsonObject => ({ name, call: {}, compensation: { step: { call: {} } }, ...more });

/** Shapes that the shipped ones do not have. */
const composed: readonly ExampleSaga[] = [
  ofWorkflow(
    "side by side, then once more",
    {
      steps: [
        call("first"),
        {
          name: "both",
          parallel: {
            branches: [
              { name: "left", steps: [call("l1"), call("l2")] },
              { name: "right", steps: [call("r1")] },
            ],
          },
        },
        call("after"),
      ],
    },
    {},
  ),
  ofWorkflow(
    "items, chosen by a condition",
    {
      steps: [
        { name: "each", for_each: { items: "[1, 2, 3]", max_parallel: 2, steps: [call("item"), call("detail")] } },
        { name: "which", conditional: { cases: [{ name: "yes", when: "true", steps: [call("inside")] }] } },
      ],
    },
    {},
  ),
  ofWorkflow(
    "one undo after the other",
    {
      compensation_policy: { undo_order: "UNDO_ORDER_SEQUENTIAL" },
      steps: [
        {
          name: "both",
          parallel: {
            branches: [
              { name: "left", steps: [call("l1")] },
              { name: "right", steps: [call("r1")] },
            ],
          },
        },
        call("after"),
      ],
    },
    {},
  ),
  ofWorkflow(
    "a point of no return amid",
    {
      steps: [
        call("hold", { compensation: { step: { call: {} }, compensate_on_failure: true } }),
        { name: "pay", call: {}, compensation: { kind: "COMPENSATION_KIND_PIVOT" } },
        { name: "ship", call: {}, compensation: { kind: "COMPENSATION_KIND_RETRIABLE" } },
      ],
    },
    {},
  ),
];
