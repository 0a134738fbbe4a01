import { Pool } from "pg";
import { expect, it } from "vitest";
import { createEngineStore } from "../../src/store/engine-store.ts";

it("a database that is away is told as such by everything the engine asks", async () => {
  // Nothing listens on this socket.
  const pool = new Pool({ host: "/nowhere", port: 1 });
  const store = createEngineStore(pool, () => ({ replicaId: "019a0000-0000-7000-8000-000000000000", epoch: 1 }));
  const execution = "exe_00000000000000000000000000";
  for (const ask of [
    () => store.nextDue(),
    () => store.claim("acme", 1),
    () => store.claimOne("acme", execution, false),
    () => store.release("acme", execution, 1),
    () => store.findOwned([]),
    () => store.releaseOrphans([]),
    () => store.loadLedgers("acme", [execution]),
  ]) {
    await expect(ask(), String(ask)).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  }
  await pool.end();
});
