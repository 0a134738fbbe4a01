import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { StepSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { blockTypes } from "../../src/domain/block-types.ts";
import { stepHandlers } from "../../src/steps/registry.ts";

const text = readFileSync(new URL("../../docs/step-types.md", import.meta.url), "utf8");
const sections = new Map([...text.matchAll(/^## `(\w+)`\n([\s\S]*?)(?=^## |$(?![\s\S]))/gm)].map(([, name, body]) => [name as string, body as string]));
const kinds = StepSchema.oneofs.find((oneof) => oneof.name === "kind")?.fields ?? [];
const spans: Readonly<Record<string, number>> = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const msOf = (span: string): number => {
  const [count, unit] = span.split(" ");
  return Number(count) * (spans[unit ?? ""] ?? Number.NaN);
};

it("docs/step-types.md has a section for every step type that this server runs, and for no other", () => {
  expect([...sections.keys()].sort()).toEqual([...stepHandlers.keys(), ...blockTypes.map(({ type }) => type)].sort());
});

it.each([...sections.keys()])("%s: every option of the contract is in its section", (type) => {
  const message = kinds.find((field) => field.name === type)?.message;
  const missing = message?.fields.map(({ name }) => name).filter((name) => !sections.get(type)?.includes(`\`${name}\``));
  expect(missing).toEqual([]);
});

it.each([...stepHandlers.values()].filter(({ nature }) => nature === "effect"))(
  "$type: its times are those of the code",
  ({ type, startToCloseMs, startToCloseMsMax }) => {
    const times = /Time of one attempt: (\d+ \w+), at most (\d+ \w+)/.exec(sections.get(type) ?? "");
    expect([times?.[1], times?.[2]].map((span) => msOf(span ?? ""))).toEqual([startToCloseMs, startToCloseMsMax]);
  },
);
