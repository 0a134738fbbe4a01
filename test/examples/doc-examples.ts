/** The examples of a page in docs/: steps in a fence `json example`, and what the last of them gives in the fence `json result` after it. */
import { readFileSync } from "node:fs";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { expect } from "vitest";

export interface DocExample {
  /** The name of the last step, whose result is shown. */
  readonly name: string;
  readonly steps: readonly JsonObject[];
  /** Members that are not shown may be anything; `…` is any value. */
  readonly result: unknown;
}

export function readExamples(page: string): DocExample[] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), "utf8");
  const fences = [...text.matchAll(/^```json (example|result)\n([\s\S]*?)^```$/gm)].map(([, kind, body]) => ({
    kind,
    value: JSON.parse(body ?? "") as JsonValue,
  }));
  return fences.flatMap(({ kind, value }, index) => {
    const next = fences[index + 1];
    if (kind === "result") return [];
    if (next?.kind !== "result") throw new Error(`example ${index + 1} of ${page} shows no result`);
    const steps = [value].flat() as JsonObject[];
    return [{ name: String(steps.at(-1)?.["name"]), steps, result: expected(next.value) }];
  });
}

/** How many fences with JSON a page has that nobody would run. */
export function fencesNotRun(page: string): number {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), "utf8");
  return [...text.matchAll(/^```json\s*$/gm)].length;
}

function expected(value: JsonValue): unknown {
  if (value === "…") return expect.anything();
  if (Array.isArray(value)) return value.map(expected);
  return typeof value === "object" && value !== null
    ? expect.objectContaining(Object.fromEntries(Object.entries(value).map(([key, part]) => [key, expected(part)])))
    : value;
}
