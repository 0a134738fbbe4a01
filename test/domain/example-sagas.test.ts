/**
 * Every step of every example saga fails once, in every way there is, and every undo (and confirmation) has its effect three times over
 * because its answers get lost: whatever happens, the participants' ledger adds up to what the saga says.
 */
import { describe, expect, it } from "vitest";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import { type ExampleSaga, exampleSagas } from "./example-sagas.ts";
import { fails, type Script, type SentCall, type Simulated, simulate, succeeds, unclear } from "./simulate.ts";
import { type Reply, replyTo } from "./simulated-steps.ts";

const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

function resultOf({ results }: ExampleSaga, path: string): Reply {
  return succeeds(results[nameOf(path)] ?? { status: 200, headers: {}, body: { id: path, state: "DONE" }, step: path });
}

/** Actions answer with what the example needs; each undo and confirmation succeeds at its third call and had its effect at the first. */
function scriptOf(example: ExampleSaga, paths: readonly string[], broken: Script): Script {
  const lost = [unclear("HTTP.503", true), unclear("NETWORK", true), succeeds({ again: true })];
  return {
    ...Object.fromEntries(
      paths.flatMap((path) => [
        [path, [resultOf(example, path)]],
        [`undo ${path}`, lost],
        [`confirm ${path}`, lost],
      ]),
    ),
    ...broken,
  };
}

/** Attempts at which an effect that fails "for good" is tried by the policies of the examples, and one more. */
const often = 12;

interface Way {
  readonly name: string;
  readonly replies: (success: Reply) => readonly Reply[];
}
const ways: readonly Way[] = [
  { name: "is refused", replies: () => [fails("HTTP.422")] },
  { name: "fails once and is tried again", replies: (success) => [fails("HTTP.503"), success] },
  { name: "loses its answer once", replies: (success) => [unclear("HTTP.503", true), success] },
  { name: "loses every answer, its effect there", replies: (success) => [...Array.from({ length: often }, () => unclear("HTTP.500", true)), success] },
  { name: "is never clear, its effect not there", replies: (success) => [...Array.from({ length: often }, () => unclear("HTTP.500", false)), success] },
  { name: "falls silent", replies: (success) => [...Array.from({ length: often }, () => ({ ...unclear("NETWORK"), tookMs: 10 ** 9 })), success] },
];
/** What must succeed is tried until it does. */
const forRetriable: Way = { name: "is refused for a while", replies: (success) => [...Array.from({ length: often }, () => fails("HTTP.503")), success] };

function hasEffect({ outcome, happened }: Reply): boolean {
  return outcome.kind === "succeeded" || ((outcome as Extract<StepOutcome, { kind: "failed" }>).outcome === "unknown" && happened !== false);
}

/** The participants' ledger: each key has its effect once, and an undo takes its action's effect back. */
function balanceOf(script: Script, calls: readonly SentCall[]): Set<string> {
  const standing = new Set<string>();
  const done = new Set<string>();
  for (const { path, operation, attempt, idempotencyKey } of calls) {
    if (done.has(idempotencyKey) || !hasEffect(replyTo(script, path, operation, attempt))) continue;
    done.add(idempotencyKey);
    if (operation === "action") standing.add(path);
    if (operation === "compensate") standing.delete(path);
  }
  return standing;
}

/** Paths whose effects count: not those that only read. */
function effects({ revision, simulation }: ExampleSaga, paths: Iterable<string>): string[] {
  const enlisted = new Map((simulation.enlisted ?? []).map((step) => [String(step["name"]), String(step["kind"])]));
  return [...paths].filter((path) => {
    const name = nameOf(path);
    const step = revision.definition.stepsByName.get(name);
    return step ? step.kind !== "readonly" : enlisted.get(name) !== "COMPENSATION_KIND_READONLY";
  });
}

function expectBalanced(example: ExampleSaga, script: Script, { calls, state, ledger }: Simulated): void {
  expect(ledger.filter(({ type }) => type === "execution_ended")).toHaveLength(1);
  for (const [operation, all] of Map.groupBy(calls, ({ path, operation: op }) => `${op} ${path}`)) {
    expect(new Set(all.map(({ idempotencyKey }) => idempotencyKey)).size, operation).toBe(1);
    expect(
      all.map(({ attempt }) => attempt),
      operation,
    ).toEqual(all.map((_, index) => index + 1));
    if (!operation.startsWith("action")) expect(all, operation).toHaveLength(3);
  }
  const standing = effects(example, balanceOf(script, calls)).toSorted();
  const succeeded = [...state.steps.values()].filter((run) => run.action === "succeeded" && run.undo?.status !== "succeeded").map(({ path }) => path);
  if (state.saga === "completed") {
    expect(standing).toEqual(
      effects(
        example,
        calls.filter(({ operation, path }) => operation === "action" && succeeded.includes(path)).map(({ path }) => path),
      )
        .filter((path, index, all) => all.indexOf(path) === index)
        .toSorted(),
    );
  } else {
    expect(state.saga).toBe("compensated");
    // What has no undo and may have had its effect is named, whether it had it or not.
    const perhaps = state.standingEffects.filter((path) => state.steps.get(path)?.action !== "succeeded" && !standing.includes(path));
    expect([...standing, ...perhaps].toSorted()).toEqual(effects(example, state.standingEffects).toSorted());
    expect(state.standingEffects.filter((path) => example.revision.definition.stepsByName.get(nameOf(path))?.compensation?.step)).toEqual([]);
  }
}

describe.each(exampleSagas().map((example) => [example.name, example] as const))("%s", (_, example) => {
  const clean = (): { readonly paths: readonly string[]; readonly script: Script; readonly run: Simulated } => {
    let paths: readonly string[] = [];
    for (;;) {
      const script = scriptOf(example, paths, {});
      const run = simulate(example.revision, { ...example.simulation, script });
      const called = [...new Set(run.calls.map(({ path }) => path))];
      if (called.length === paths.length) return { paths, script, run };
      paths = called;
    }
  };

  it("completes, with every effect once", () => {
    const { run, script, paths } = clean();
    expect(run.state.status).toBe("completed");
    expect(paths.length).toBeGreaterThan(1);
    expectBalanced(example, script, run);
  });

  const { paths } = clean();
  const kindOf = (path: string): string => {
    const enlisted = example.simulation.enlisted?.find((step) => step["name"] === nameOf(path));
    return enlisted ? String(enlisted["kind"] ?? "") : String(example.revision.definition.stepsByName.get(nameOf(path))?.kind ?? "");
  };
  const cases = paths.flatMap((path) => {
    const isRetriable = /retriable/i.test(kindOf(path));
    const fit = ways.filter(({ name }) => !isRetriable || name !== "is refused");
    return [...fit, ...(isRetriable ? [forRetriable] : [])].map((way) => [path, way.name, way] as const);
  });

  it.each(cases)("balances when %s %s", (path, __, { replies }) => {
    const script = scriptOf(example, paths, { [path]: replies(resultOf(example, path)) });
    expectBalanced(example, script, simulate(example.revision, { ...example.simulation, script }));
  });
});
