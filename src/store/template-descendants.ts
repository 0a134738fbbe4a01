/** A page of what comes from a template: templates first, then workflows, each by name. */
import type { Pool } from "pg";
import type { Caller } from "../base/caller.ts";
import { formatId } from "../base/ids.ts";
import { guarded } from "./database-error.ts";
import { readListing } from "./listing.ts";
import { countDescendants, listDerived, listInheriting } from "./sql/list-descendants.ts";

export interface Descendant {
  readonly kind: "template" | "workflow";
  readonly id: string;
  readonly name: string;
  /** Of the template asked about. */
  readonly version: number;
  /** 1 = inherits from it, or was made from it, directly. */
  readonly distance: number;
  /** Where the next page begins when this is the last item of one. */
  readonly position: string;
}

export interface DescendantsOptions {
  readonly pageSize: number;
  readonly after?: string | undefined;
  readonly withTotal?: boolean | undefined;
}

export interface DescendantPage {
  readonly items: readonly Descendant[];
  readonly more: boolean;
  readonly total: number | undefined;
}

interface Position {
  readonly kind: Descendant["kind"];
  readonly name: string;
}

export async function readDescendants(pool: Pool, caller: Caller, templateUuid: string, options: DescendantsOptions): Promise<DescendantPage> {
  const { pageSize, withTotal } = options;
  const after = options.after === undefined ? { kind: "template", name: "" } : (JSON.parse(options.after) as Position);
  const { tenantId } = caller;
  return guarded(() =>
    readListing(pool, async (client) => {
      const found: Omit<Descendant, "position">[] = [];
      if (after.kind === "template") {
        for (const { uuid, name, bases } of await listInheriting(client, tenantId, templateUuid, after.name, pageSize + 1)) {
          const at = bases.findIndex(({ id }) => id === templateUuid);
          found.push({ kind: "template", id: formatId("template", uuid), name, version: bases[at]?.version ?? 0, distance: at + 1 });
        }
      }
      if (found.length <= pageSize) {
        const behind = after.kind === "workflow" ? after.name : "";
        for (const { uuid, name, version, bases } of await listDerived(client, tenantId, templateUuid, behind, pageSize + 1 - found.length)) {
          const at = bases === null ? -1 : bases.findIndex(({ id }) => id === templateUuid);
          found.push({ kind: "workflow", id: formatId("workflow", uuid), name, version: bases?.[at]?.version ?? version, distance: at + 2 });
        }
      }
      const total = withTotal ? await countDescendants(client, tenantId, templateUuid) : undefined;
      const items = found.slice(0, pageSize).map((item) => ({ ...item, position: JSON.stringify({ kind: item.kind, name: item.name }) }));
      return { items, more: found.length > pageSize, total };
    }),
  );
}
