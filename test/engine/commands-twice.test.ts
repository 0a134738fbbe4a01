/** A driver that dies after it carried a command out and before it answered: the next one carries it out again, and that changes nothing. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ControlCommand } from "../../src/domain/control-command.ts";
import { acme, openWorld, type World } from "./engine-fixture.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world[Symbol.asyncDispose]());

const by = { actor: "key_1", reason: "because" };
const call = (name: string): JsonObject => ({ name, call: {}, retry_policy: { maximum_attempts: 1 } });
/** Beside an effect that is out, so that its execution stays in the memory of its driver. */
const delay = (name: string): JsonObject => ({ name, delay: { duration: "3600s" } });
const beside = (...steps: readonly JsonObject[]): JsonObject => ({
  name: "both",
  parallel: { branches: steps.map((step, index) => ({ name: `branch${index}`, steps: [step] })) },
});

/** What each command leaves in the ledger, once; `refused` is what the asker may hear of its own decision. */
const commands: readonly { readonly command: ControlCommand; readonly event: string; readonly refused?: string }[] = [
  { command: { kind: "pause", ...by }, event: "execution_paused" },
  { command: { kind: "cancel", ...by }, event: "execution_cancel_requested", refused: "EXECUTION_TERMINAL" },
  { command: { kind: "terminate", ...by }, event: "execution_ended", refused: "EXECUTION_TERMINAL" },
  { command: { kind: "skip_step", ...by, path: "wait", result: 1 }, event: "step_skipped" },
  { command: { kind: "complete_step", ...by, path: "wait", result: 1 }, event: "step_succeeded" },
];

it.each(commands)("$command.kind", async ({ command, event, refused }) => {
  const committed = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const driver = await world.openEngine("driver", {
    afterAppend: async ({ events }) => {
      if (!events.some(({ type }) => type === event)) return;
      committed.resolve();
      await over.promise;
    },
  });
  const executionId = await driver.start({ steps: ["path" in command ? beside(delay("wait"), call("a")) : call("a")] });
  await world.nextSent();
  const asker = await world.openEngine("asker");
  const asked = asker.engine.control(acme, executionId, command).then(
    () => "done",
    (error: unknown) => (error instanceof AppError ? error.reason : String(error)),
  );
  await committed.promise;
  await driver.kill();
  const answer = await asked.finally(() => over.resolve());
  expect(["done", ...(refused === undefined ? [] : [refused])]).toContain(answer);
  const ledger = await world.ledgerOf(executionId);
  expect(ledger.filter(({ type }) => type === event)).toHaveLength(1);
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
});
