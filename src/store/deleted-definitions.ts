/**
 * Deleted workflows and templates, which can be taken back for a while and are removed then, unless something still refers to
 * them: executions, parents and templates that inherit. What is held by another one goes with a later pass than that one.
 */
import type { Pool } from "pg";
import { formatId } from "../base/ids.ts";
import type { LeftOut } from "../base/left-out.ts";
import { guarded } from "./database-error.ts";
import { type DeletedHead, type DeletedKind, listDeletedHeads, purgeHead } from "./sql/purge-deleted.ts";

/** Heads that one portion looks at. */
const headsMax = 50;

export interface DeletedPurge {
  /** One portion of a pass; answers how many it looked at, so 0 ends the pass and the next call begins another. */
  readonly portion: () => Promise<number>;
}

/** `keptMs`: how long what was deleted is kept; `onRemoved` hears how many went, `leftOut` of those that PostgreSQL refuses to remove. */
export function createDeletedPurge(pool: Pool, kind: DeletedKind, keptMs: number, onRemoved: (count: number) => void, leftOut: LeftOut): DeletedPurge {
  const purge = async (head: DeletedHead): Promise<boolean> => {
    const id = formatId(kind, head.uuid);
    try {
      return await guarded(() => purgeHead(pool, kind, head, id, keptMs));
    } catch (error) {
      leftOut.goOn({ tenantId: head.tenantId, [`${kind}Id`]: id }, error);
      return false;
    }
  };
  let after: DeletedHead | undefined;
  return {
    portion: () =>
      guarded(async () => {
        const heads = await listDeletedHeads(pool, kind, keptMs, after, headsMax);
        let removed = 0;
        for (const head of heads) if (await purge(head)) removed += 1;
        if (removed > 0) onRemoved(removed);
        after = heads.at(-1);
        return heads.length;
      }),
  };
}
