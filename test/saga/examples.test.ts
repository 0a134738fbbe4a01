/** Every step of every example saga is failed once, and every undo is done three times over: nothing is ever left over. */
import { readdirSync, readFileSync } from "node:fs";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { balanceOf, callsOf, finished, useHouse } from "./support/house.ts";
import { quick, sagaOf } from "./support/steps.ts";

const folder = new URL("../../examples/sagas/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
const house = useHouse(1);

interface Example {
  readonly steps: readonly (JsonObject & { name: string; kind?: string })[];
  readonly rest: JsonObject;
}

function read(file: string): Example {
  const text = readFileSync(new URL(file, folder), "utf8").replaceAll("{target}", house.participant.grpcTarget).replaceAll("{url}", house.participant.httpUrl);
  const { steps, ...rest } = JSON.parse(text) as { steps: Example["steps"] } & JsonObject;
  const paced = steps.map((step) => ({
    ...step,
    action_retry: quick,
    ...(step.kind?.endsWith("PIVOT") || step.kind?.endsWith("ABLE") ? {} : { compensation_retry: quick }),
  }));
  return { steps: paced as Example["steps"], rest };
}

/** Forgets what a case before has left to be answered. */
async function script(example: Example, answers: Readonly<Record<string, JsonValue[]>>): Promise<void> {
  const none = example.steps.flatMap(({ name }) => ["action", "compensate", "confirm"].map((op) => [`${name} ${op}`, []] as const));
  await house.participant.script({ ...Object.fromEntries(none), ...answers });
}

const isGrpc = (step: JsonObject): boolean => JSON.stringify(step["action"]).includes('"grpc"');
/** Surely without an effect, for good. */
const refusal = (step: JsonObject): JsonValue => (isGrpc(step) ? { outcome: "OUTCOME_FAILED_NO_EFFECT", error: "USER.refused" } : 422);
const cases = files.flatMap((file) =>
  (JSON.parse(readFileSync(new URL(file, folder), "utf8")) as { steps: { name: string; kind?: string }[] }).steps.map(
    (step) => [file, step.name, step.kind ?? ""] as const,
  ),
);

describe("an example saga", () => {
  it.each(files)("%s completes, and what it did stands", async (file) => {
    const example = read(file);
    await script(example, {});
    const saga = await finished(house, sagaOf(example.steps, example.rest));
    expect(saga.state).toBe(SagaState.COMPLETED);
    expect((await balanceOf(house, saga.id)).toSorted()).toEqual(example.steps.map(({ name }) => name).toSorted());
  });

  it.each(cases)("%s with %s failing once, every undo's answer lost twice, balances", async (file, name, kind) => {
    const example = read(file);
    const step = example.steps.find((candidate) => candidate.name === name) ?? {};
    const isPastPivot = kind === "COMPENSATION_KIND_RETRIABLE";
    const undos = example.steps.map((other) => [`${other.name} compensate`, ["lost", "lost"] as JsonValue[]] as const);
    await script(example, { ...Object.fromEntries(undos), [`${name} action`]: [isPastPivot ? (isGrpc(step) ? 14 : 503) : refusal(step)] });
    const saga = await finished(house, sagaOf(example.steps, example.rest));
    expect(saga.state).toBe(isPastPivot ? SagaState.COMPLETED : SagaState.COMPENSATED);
    const readonly = example.steps.filter((other) => other.kind?.endsWith("READONLY")).map((other) => other.name);
    const left = (await balanceOf(house, saga.id)).filter((effect) => !readonly.includes(effect));
    expect(left.toSorted()).toEqual(isPastPivot ? example.steps.map((other) => other.name).toSorted() : []);
    // Three calls of one undo are one undo: the same key each time.
    const undone = Map.groupBy(
      (await callsOf(house, saga.id)).filter(({ op }) => op === "compensate"),
      ({ step: path }) => path,
    );
    for (const [path, calls] of undone) expect(new Set(calls.map(({ key }) => key)).size, path).toBe(1);
  });
});
