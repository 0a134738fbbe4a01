/** Executions that wait for a participant to answer again, as the engine sees them. */
import type { Pool } from "pg";
import { formatId, parseId } from "../base/ids.ts";
import { noteDestinationWaits, purgeDestinationWaits, takeDestinationWaits } from "./sql/destination-waits.ts";

export interface DestinationWait {
  readonly tenantId: string;
  /** Key of the breaker. */
  readonly destination: string;
  readonly executionId: string;
  /** When it is tried anyway, in milliseconds since the epoch. */
  readonly until: number;
}

export interface DestinationWaitStore {
  note(waits: readonly DestinationWait[]): Promise<void>;
  /** Ids of executions that wait for it; each is given to one caller only. */
  take(tenantId: string, destination: string, rowsMax: number): Promise<readonly string[]>;
  /** Forgets what is due anyway; answers how many. */
  purge(): Promise<number>;
}

const purgedAtOnceMax = 1_000;

export function createDestinationWaitStore(pool: Pool): DestinationWaitStore {
  return {
    async note(waits) {
      const rows = waits.flatMap(({ executionId, ...wait }) => {
        const executionUuid = parseId("execution", executionId);
        return executionUuid === undefined ? [] : [{ ...wait, executionUuid }];
      });
      if (rows.length > 0) await noteDestinationWaits(pool, rows);
    },
    take: async (tenantId, destination, rowsMax) =>
      (await takeDestinationWaits(pool, tenantId, destination, rowsMax)).map((uuid) => formatId("execution", uuid)),
    purge: () => purgeDestinationWaits(pool, purgedAtOnceMax),
  };
}
