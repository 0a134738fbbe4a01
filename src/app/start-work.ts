/** Sets everything in motion that goes on by itself, once calls can be answered. */
import { LeftOut } from "../base/left-out.ts";
import { Periodic } from "../engine/periodic.ts";
import { sendNotices } from "../engine/saga-notices.ts";
import { createSecretUpkeep } from "../engine/secret-upkeep.ts";
import { keyLookMs } from "../rpc/open-keys.ts";
import { createDeletedPurge } from "../store/deleted-definitions.ts";
import { createDestinationWaitStore } from "../store/destination-wait-store.ts";
import { createEngineStore } from "../store/engine-store.ts";
import { createSagaNoticeStore } from "../store/saga-notice-store.ts";
import { rewrapKeys } from "../store/wrapped-keys.ts";
import { watchEventLoop } from "../telemetry/event-loop.ts";
import type { EngineRoom } from "./engine-room.ts";
import type { Ground } from "./ground.ts";
import { engineCaller, type Site } from "./site.ts";

export function startWork({ config, log, clock, instruments, history, onStop }: Site, ground: Ground, room: EngineRoom): void {
  const { database, masterKeys, files, secrets, keys, openKeys } = ground;
  const { leases, deliveries, handlers, stepServices, engine, taskClock, retention, usageRollup, gate, sweeps } = room;
  engine.start();
  gate.start();
  onStop(() => gate.stop());
  sweeps.start();
  onStop(() => sweeps.stop());
  deliveries.start();
  taskClock.start();
  onStop(() => taskClock.stop());
  retention.start();
  onStop(() => retention.stop());
  usageRollup.start();
  onStop(() => usageRollup.stop());
  const work = createSecretUpkeep({ purge: secrets.purge, rewrap: () => rewrapKeys(database.pool, masterKeys), log });
  const upkeep = new Periodic({ name: "the upkeep of secrets", work, intervalMs: 60_000, clock, log });
  upkeep.start();
  onStop(() => upkeep.stop());
  const notices = { store: createSagaNoticeStore(database.pool), ledgers: createEngineStore(database.pool, () => leases.fence), callerOf: engineCaller };
  const sagaNotices = new Periodic({
    name: "the notices of sagas",
    work: () => sendNotices({ ...notices, engine, handlers, services: stepServices, secrets, now: () => leases.now() }),
    intervalMs: 1_000,
    clock,
    log,
  });
  sagaNotices.start();
  onStop(() => sagaNotices.stop());
  const waitPurge = new Periodic({
    name: "the purge of waits for participants",
    work: createDestinationWaitStore(database.pool).purge,
    intervalMs: 60_000,
    clock,
    log,
  });
  waitPurge.start();
  onStop(() => waitPurge.stop());
  const keyLook = new Periodic({ name: "the look at the keys of open calls", work: () => openKeys.look().then(() => 0), intervalMs: keyLookMs, clock, log });
  keyLook.start();
  onStop(() => keyLook.stop());
  const keyPurge = new Periodic({ name: "the purge of keys", work: keys.purge, intervalMs: 3_600_000, clock, log });
  keyPurge.start();
  onStop(() => keyPurge.stop());
  // Workflows first: a template goes when the last workflow that was made of it has gone.
  for (const kind of config.deletedDays === 0 ? [] : (["workflow", "template"] as const)) {
    const onRemoved = (count: number): void => log.info({ kind, count }, "what was deleted long ago is removed");
    const leftOut = new LeftOut({ work: "deleted_definitions", log, onLeftOut: (work) => instruments.rowsLeftOut.of(work).add() });
    const { portion } = createDeletedPurge(database.pool, kind, config.deletedDays * 86_400_000, onRemoved, leftOut);
    const purge = new Periodic({ name: `the purge of deleted ${kind}s`, work: portion, intervalMs: 6 * 3_600_000, clock, log });
    purge.start();
    onStop(() => purge.stop());
  }
  const filePurge = new Periodic({ name: "the purge of files", work: files.purge, intervalMs: 60_000, clock, log });
  filePurge.start();
  onStop(() => filePurge.stop());
  const noteFigures = async (): Promise<number> => {
    history.note();
    return 0;
  };
  const figures = new Periodic({ name: "the history of the counters", work: noteFigures, intervalMs: 60_000, clock, log });
  figures.start();
  onStop(() => figures.stop());
  onStop(watchEventLoop(instruments.eventLoopDelaySeconds, clock));
}
