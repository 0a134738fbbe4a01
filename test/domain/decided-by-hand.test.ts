/** An operator decides a step that somebody outside may be carrying out at this moment: its undo does not overtake it. */
import { expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import type { ControlCommand } from "../../src/domain/control-command.ts";
import { failure } from "../../src/domain/failure.ts";
import { by, call, order, stands } from "./commanded.ts";
import { compile, fails, simulate } from "./simulate.ts";

const undone: JsonObject = { compensation: { step: call("undo") } };
const path = "render";
const decisions: readonly ControlCommand[] = [
  { ...by, kind: "skip_step", path },
  { ...by, kind: "fail_step", path, failure: failure("USER.no", "no") },
  { ...by, kind: "complete_step", path, result: null },
];

// A task was taken at the latest when it was decided; a worker may be at it for 60 s, and for as long again.
it.each(decisions.map((command) => [command.kind, command] as const))(
  "%s on a task in its queue: the undo waits out a worker's time and grace",
  (_, command) => {
    const steps = [{ name: path, pull: { body: null }, timeouts: { start_to_close: "60s" }, ...undone }, call("no", { retry_policy: { maximum_attempts: 1 } })];
    const run = simulate(compile({ steps }), { script: { no: [fails("HTTP.422")] }, orders: [order(command, stands(path, "queued"))] });
    const decidedAt = run.ledger.find(({ type }) => type === "operator_acted")?.at ?? 0;
    const undo = run.ledger.find(({ type }) => type === "compensation_started");
    expect(undo?.stepPath).toBe(path);
    expect((undo?.at ?? 0) - decidedAt).toBeGreaterThanOrEqual(120_000);
    expect(run.state.steps.get(path)?.report).toBeUndefined();
  },
);
