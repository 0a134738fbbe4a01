import { expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import type { RefusedWrite } from "../../src/domain/refused-write.ts";
import { LettingGo } from "../../src/engine/letting-go.ts";

const lettingGo = (): LettingGo =>
  new LettingGo({ store: { release: async () => undefined }, holdsLease: () => true, clock: systemClock, log: silentLog, onUnreleased: () => undefined });
const write = (stepPath: string): RefusedWrite => ({ sqlState: "22P05", stepPath, operation: "action" });

it("only the fourth refusal of the same write in a row is final: what failed otherwise before it, or for another step, does not count", async () => {
  const executions = lettingGo();
  const refusedAt = async (stepPath: string): Promise<boolean | undefined> => {
    await executions.refused("acme", "exe_1", write(stepPath));
    return executions.refusalOf("acme", "exe_1")?.isFinal;
  };
  for (let times = 0; times < 3; times++) await executions.failed("acme", "exe_1").released;
  expect(await refusedAt("innocent")).toBe(false);
  expect([await refusedAt("guilty"), await refusedAt("guilty"), await refusedAt("guilty"), await refusedAt("guilty")]).toEqual([false, false, false, true]);
  // It is told once; whoever could not end it hears of it with the next refusal.
  expect(executions.refusalOf("acme", "exe_1")?.isFinal).toBe(false);
  expect(await refusedAt("guilty")).toBe(true);
});
