/** What this process says about itself when it is asked. */
import type { SelfReport } from "../rpc/process-figures.ts";
import type { EngineRoom } from "./engine-room.ts";
import { type Ground, poolMax } from "./ground.ts";
import type { Site } from "./site.ts";

export function selfReport({ version, clock, history }: Site, { database, redis }: Ground, { leases, journal }: EngineRoom): SelfReport {
  const startedAt = clock.now() - process.uptime() * 1000;
  return {
    version,
    replicaId: leases.fence.replicaId,
    startedAt,
    postgresVersion: database.serverVersion,
    leaseHeld: () => leases.held,
    journalBacklogRows: () => journal.backlogRows,
    redis: () => redis.look(),
    figures: (windowMs) => history.since(windowMs),
    moment: () => {
      const { rss, heapUsed } = process.memoryUsage();
      const { totalCount, idleCount, waitingCount } = database.pool;
      return { residentBytes: rss, heapUsedBytes: heapUsed, poolMax, poolOpen: totalCount, poolIdle: idleCount, poolWaiting: waitingCount };
    },
  };
}
