/** Reads for watches: what is new in many executions at once. */
import { nilUuid, parseId } from "../base/ids.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { readNews } from "./sql/read-news.ts";

export interface Position {
  readonly tenantId: string;
  readonly executionId: string;
  readonly afterSequence: number;
}

export interface NewsRepository {
  /**
   * For each position the events after it, in order: at most 256 and about 1 MiB each (one always), so that more may
   * follow. At most 200 positions.
   */
  readNews(positions: readonly Position[]): Promise<readonly (readonly ExecutionEvent[])[]>;
}

const rowsMax = 256;
const bytesMax = 1024 * 1024;

export function createNewsRepository({ pool }: Pick<Database, "pool">): NewsRepository {
  return {
    async readNews(positions) {
      const wanted = positions.map(({ executionId, ...rest }) => ({ ...rest, executionUuid: parseId("execution", executionId) ?? nilUuid }));
      const found: ExecutionEvent[][] = positions.map(() => []);
      for (const { index, ...row } of await guarded(() => readNews(pool, wanted, rowsMax, bytesMax))) {
        found[index]?.push({ ...row, at: row.at.getTime() } as unknown as ExecutionEvent);
      }
      return found;
    },
  };
}
