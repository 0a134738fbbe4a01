/** How children stand, as their rows tell. */
import type { Pool } from "pg";
import { formatId, parseId } from "../base/ids.ts";
import type { ChildFacts } from "../domain/children.ts";
import { guarded } from "./database-error.ts";
import { findChildren } from "./sql/find-children.ts";

/** By execution id; those that do not exist are absent. */
export type ChildFinder = (tenantId: string, executionIds: readonly string[]) => Promise<ReadonlyMap<string, ChildFacts>>;

export function createChildFinder(pool: Pool): ChildFinder {
  return async (tenantId, executionIds) => {
    const uuids = executionIds.flatMap((id) => parseId("execution", id) ?? []);
    const rows = await guarded(() => findChildren(pool, tenantId, uuids));
    return new Map(
      rows.map(({ id, state: status, sagaState: saga, failure, output }) => [
        formatId("execution", id),
        { status, saga, failure: failure ?? undefined, output: output ?? null },
      ]),
    );
  };
}
