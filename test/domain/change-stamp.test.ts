/** A repeatable command is known again by the ledger alone. */
import { describe, expect, it } from "vitest";
import { limits } from "../../src/base/limits.ts";
import { Answered } from "../../src/domain/answered.ts";
import { noteChange } from "../../src/domain/change-stamp.ts";
import { applyCommand, type ControlCommand } from "../../src/domain/control-command.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { emptyExecution } from "../../src/domain/execution-state.ts";
import { by, run, wait } from "./commanded.ts";
import { compile, simulationStartAt } from "./simulate.ts";

const steps = [wait("sleep"), wait("more")];
const revision = compile({ steps });

/** The ledger after a command, or undefined when it made no events. */
function given(ledger: ReturnType<typeof run>["ledger"], command: ControlCommand) {
  const state = foldExecution({ tenantId: "acme", executionId: "exe_1" }, ledger);
  const made = applyCommand({ state, revision, now: simulationStartAt }, command);
  if (made instanceof Error) throw made;
  const { events, answer } = made instanceof Answered ? made : { events: made, answer: undefined };
  return { ledger: [...ledger, ...events.map((event, index) => ({ ...event, sequence: ledger.length + index + 1 }))], made: events.length, answer };
}

describe("a command with a key", () => {
  const { ledger } = run(steps, {}, []);
  const begun = ledger.slice(0, ledger.findIndex(({ type }) => type === "step_waiting") + 1);
  const set = (key: string, value: number): ControlCommand => ({ kind: "update_variables", ...by, variables: { count: value }, change: { key } });

  it("is carried out once, also when others came in between", () => {
    const first = given(begun, set("a", 1));
    const second = given(first.ledger, set("b", 2));
    expect([first.made, second.made]).toEqual([2, 2]);
    const again = given(second.ledger, set("a", 1));
    expect(again).toMatchObject({ made: 0, answer: { replayed: true } });
    expect(foldExecution({ tenantId: "acme", executionId: "exe_1" }, again.ledger).variables).toEqual({ count: 2 });
  });

  it("is answered as the first time although the state would refuse it now", () => {
    const ended = given(begun, { kind: "terminate", ...by, change: { key: "end" } });
    expect(given(ended.ledger, { kind: "terminate", ...by, change: { key: "end" } })).toMatchObject({ made: 0, answer: { replayed: true } });
    expect(() => given(ended.ledger, { kind: "terminate", ...by, change: { key: "other" } })).toThrow("has ended");
  });

  it("leaves nothing behind when it changes nothing", () => {
    const paused = given(begun, { kind: "pause", ...by, change: { key: "a" } });
    expect(given(paused.ledger, { kind: "pause", ...by, change: { key: "b" } })).toMatchObject({ made: 0, answer: undefined });
  });

  it("is forgotten when as many came after it as an execution knows", () => {
    const state = emptyExecution({ tenantId: "acme", executionId: "exe_1" });
    for (let count = 0; count <= limits.changeKeysPerExecutionMax; count++) noteChange(state, { key: `key${count}` });
    expect([state.changes.size, state.changes.has("key0"), state.changes.has("key1")]).toEqual([limits.changeKeysPerExecutionMax, false, true]);
  });
});
